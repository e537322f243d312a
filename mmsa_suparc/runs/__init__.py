"""From a request to a run folder.

``request``        what was asked, and every check before anything is written
``run``            many seeds: train, keep, record, go on
``seeds``          one seed of any model, through the toolkit's registries
``trainer``        SupArc as a model and trainer of the toolkit
``recorder``       epochs, times and predictions of any trainer
``folder``         the run folder: every name in it
``records``        its finished seeds, read without torch
``servable``       what it keeps so that its SupArc can be asked
``trained``        a trained model of any kind out of it
``toolkit_table``  the toolkit's own table and search
``tracking``       epochs to TensorBoard and Weights & Biases
``environment``    versions and command
"""
