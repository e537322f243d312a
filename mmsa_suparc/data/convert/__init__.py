"""Feature files made of what people have: arrays beside a table, data sets of Hugging Face's
library, dictionaries of the CMU Multimodal SDK.

Each reader gives :class:`~mmsa_suparc.data.convert.clips.Clip`; ``clips`` makes a feature file of
them.
"""
