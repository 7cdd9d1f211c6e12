"""Rows to tensors, one encoder per column, fitted on the training fold alone.

Missing values, and values that the training fold did not hold, become:

================  ===========================  ==============================================
encoder           missing                      unseen
================  ===========================  ==============================================
``scale``,        the training mean, and 1 in  a number: scaled, mapped (beyond the ends: to
``quantile``,     an extra feature ``(missing  the end) or left as it is
``rank``,         )`` where training had gaps
``passthrough``
``one_hot``       a category of its own where  0 in every feature of the column
                  training had gaps, else as
                  an unseen value
``ordinal``       -2                           -1
``target``        a category of its own where  the label's mean (a class's share) over the
                  training had gaps, else as   training rows
                  an unseen value
``ngrams``        the empty text: zeros        none: any text has its n-grams
``sequence_…``    the empty text: zeros        a letter: 0 in every feature of its place
                                               (``one_hot``), a code of its own (``integer``)
``image``,        cannot be                    none
``vector``
``_target_``      numbers: as ``scale``;       what the named class does
                  text: the empty text;
                  categories: None
a class label     cannot be                    -1, counted as wrong in evaluation
================  ===========================  ==============================================

"Training" means a sample here: the ``fit_rows`` training rows with the smallest
draws by key, so a category or a gap that occurs only outside it counts as unseen. Classes, and
the mean and spread of a numeric label, come from all training rows.

An encoder is fitted once per generation, and applied the same to every batch, shard and fold.
``decode`` undoes ``scale``, ``quantile``, ``rank``, ``passthrough``, ``one_hot``, ``ordinal``,
``sequence_…``, ``image``, ``vector`` and the label.

A row's tensor does not depend on the rows that are encoded with it, to the bit.
"""
