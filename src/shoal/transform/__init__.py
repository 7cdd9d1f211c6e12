"""Human-readable rows to human-readable rows, by named steps.

==================  =======================================  ======================  =============
step                options                                  works on                fitted on
==================  =======================================  ======================  =============
``impute``          ``strategy``: mean, median,              numeric, categorical,   sample
                    most_frequent, constant; ``value``       text
``clip``            ``low``, ``high`` or ``low_quantile``,   numeric                 sample
                    ``high_quantile``
``log``             none: log(1 + value)                     numeric                 nothing
``lower``           none                                     categorical, text       nothing
``noise``           ``sd``, in the column's unit             numeric                 nothing
``filter``          ``min``, ``max``, ``equals``,            all but image           nothing
                    ``not_equals``, ``in``, ``not_missing``
``drop_duplicates`` none                                     inputs and label        all rows
``balance``         ``ratio``                                the label               all rows
==================  =======================================  ======================  =============

``noise``, ``filter``, ``drop_duplicates`` and ``balance`` touch the training fold alone: rows of
validation, test and outside every fold are never dropped and never augmented, and neither are
rows to predict. A fitted step is fitted on training rows as the steps before it leave them; the
*sample* is the ``fit_rows`` of them with the smallest draws, in any order of shards.
"""
