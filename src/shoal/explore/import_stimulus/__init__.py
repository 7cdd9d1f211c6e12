"""Experiments of the stimulus tools as experiments of Shoal.

==========================  ==================================================================
stimulus                    Shoal
==========================  ==================================================================
``name:role:type`` header   ``sources.columns``; the column keeps its whole header as its name
role ``split``              ``split: column``: 0 is train, 1 validation, 2 test
``columns``, ``encoder``    ``sources.columns``, ``encode.columns``; several encoders are a grid
``transforms``              one choice of ``transform.steps`` for each point of their grid
``split``                   one choice of ``split`` for each
==========================  ==================================================================

Settings without an equal are reported and left out. The YAML is that of later versions of stimulus,
JSON and typed headers that of earlier ones.
"""
