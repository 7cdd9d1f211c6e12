"""Human-readable rows to human-readable rows, by named steps.

====================== ====================================== ====================== =========
step                   options                                works on               fitted on
====================== ====================================== ====================== =========
``impute``             ``strategy``: mean, median,            numeric, categorical,  sample
                       most_frequent, constant; ``value``     text
``clip``               ``low``, ``high`` or ``low_quantile``, numeric                sample
                       ``high_quantile``
``log``                none: log(1 + value)                   numeric                nothing
``lower``              none                                   categorical, text      nothing
``chunk``              ``length``; ``place``: start, end,     categorical, text      nothing
                       random
``reverse_complement`` ``share``                              categorical, text      nothing
``noise``              ``sd``, in the column's unit           numeric                nothing
``mask``               ``share``; ``character``               numeric, categorical,  nothing
                                                              text
``swap``               ``share``; ``unit``: character, word   numeric, categorical,  nothing
                                                              text
``filter``             ``min``, ``max``, ``equals``,          all but image          nothing
                       ``not_equals``, ``in``,
                       ``not_missing``
``drop_duplicates``    none                                   inputs and label       all rows
``balance``            ``ratio``; ``sampling``: down, up      the label              all rows
``function``           ``_target_``; ``training_only``;       numeric, categorical,  nothing
                       ``arguments``                          text
====================== ====================================== ====================== =========

``noise``, ``mask``, ``swap``, ``filter``, ``drop_duplicates`` and ``balance`` touch the training
fold alone, and so do ``reverse_complement`` with a ``share`` and ``function`` where it says so:
rows of validation, test and outside every fold are never dropped, repeated or augmented, and
neither are rows to predict. A ``chunk`` from a random place is one from the middle in other folds.

What a step draws for a row is a function of the seed, the step's name and place in the list, the
column and the row's key: shards and batches do not matter, and no two columns or rows draw alike.

A fitted step is fitted on training rows as the steps before it leave them; the *sample* is the
``fit_rows`` of them with the smallest draws, in any order of shards.
"""
