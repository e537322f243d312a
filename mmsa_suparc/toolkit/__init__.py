"""The only room in which the toolkit is imported and touched.

``installed``  what its files say without importing it: models, data sets, configuration
``datasets``   data sets by name, also those that it is taught
``modules``    its modules
``registry``   registered models by name, and what they have to offer
``settings``   the merged configuration of a model on a data set
``features``   what its data set reads, prepared for the configured encoder
``catalogue``  what runs on this machine, and why not
``calls``      loaders, models, trainers and metrics that runs ask it for
``context``    what the run in progress tells the patches
``patching``   patches applied and undone together; ``patches/`` holds them, one theme a file
"""
