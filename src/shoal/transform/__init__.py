"""Human-readable rows to human-readable rows, by named steps.

``config/README.md`` lists the steps: their options, columns and folds, and what they are fitted on.

``noise``, ``mask``, ``swap``, ``filter``, ``drop_duplicates`` and ``balance`` touch the training
fold alone, and so do ``reverse_complement`` with a ``share`` and ``function`` where it says so:
rows of validation, test and outside every fold are never dropped, repeated or augmented, and
neither are rows to predict. A ``chunk`` from a random place is one from the middle in other folds.

What a step draws for a row is a function of the seed, the step's name and place in the list, the
column and the row's key: shards and batches do not matter, and no two columns or rows draw alike.

A fitted step is fitted on training rows as the steps before it leave them; the *sample* is the
``fit_rows`` of them with the smallest draws, in any order of shards.
"""
