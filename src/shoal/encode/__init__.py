"""Rows to tensors, one encoder per column, fitted on the training fold alone.

``config/README.md`` lists the encoders: what missing and unseen values become, and which have an
inverse, ``decode``. A class by ``_target_`` gets numbers without gaps, filled as by ``scale``, the
empty text for a missing one, and None for a missing category. A class label cannot be missing; one
that training did not have is -1, and counted as wrong in evaluation.

"Training" means a sample here: the ``fit_rows`` training rows with the smallest draws by key, so a
category or a gap that occurs only outside it counts as unseen. Classes, and the mean and spread of
a numeric label, come from all training rows.

An encoder is fitted once per generation, and applied the same to every batch, shard and fold. A
row's tensor does not depend on the rows that are encoded with it, to the bit.
"""
