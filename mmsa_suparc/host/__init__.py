"""The only room in which the toolkit is imported and touched.

``seam``       every patch, applied and undone together
``registry``   models by name: the toolkit's, SupArc, third parties'
``configs``    the merged configuration of a model on a data set
``adapters``   SupArc in the toolkit's clothes: ``args`` in, toolkit interface out
``features``   what a toolkit's data set reads, prepared for the configured encoder
``seeds``      one seed of any model
``runs``       many seeds, the run folder, going on after a kill
``catalogue``  what runs on this machine, and why not
"""
