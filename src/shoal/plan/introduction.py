"""The first part of ``config/README.md``: how settings compose, and what they name."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_TEXT = """\
# Settings

Written by `python -m shoal.plan.reference`; change that module or the settings, not this page.

## How settings compose

Hydra composes an experiment's settings once, when the Snakefile is read:

1. `config.yaml` chooses one file of each group: `embed: pca` is `config/embed/pca.yaml`.
2. `experiment/NAME.yaml` changes that. It starts with `# @package _global_`, chooses other files
   under `defaults` (`- override /embed: scarf`) and sets single values below.
3. Overrides on the command line come last.

Each file is looked up in the project's `config/` first, that of the current folder or else the one
beside the Snakefile, and then among the defaults on this page, which come with the package. So a
project may lie outside the clone, as a folder with data and `config/experiment/mine.yaml`:

    shoal plan mine
    snakemake -s CLONE/Snakefile -c all --config experiment=mine

Every value comes from these files; only options of transform steps and encoders may be left out.
The result is checked against the types on this page: an unknown name or a wrong value is one line,
exit code 2, and so is a slip in a file: `config/experiment/tiny.yaml, line 14: duplicate key grid`.
A run writes the resolved settings to `results/NAME/settings.json`. The ids in the paths of results
come from these values, so a change makes new files for the stages it reaches and for no others.

The files are plain YAML in UTF-8: no anchors, aliases or tags, and at most 500 kB. A value may
refer to one other setting by its whole name, `${seed}` or `${encode.columns.age}`, or to a fact of
the data, `${data:features}`. Nothing else is looked up: no environment variables, which would end
up in results, and no settings of Hydra itself. Numbers are finite, and seeds are whole numbers from
0 to 4294967295.

    snakemake -c all --config experiment=titanic
    snakemake -c all --config experiment=titanic 'overrides=[sources.folder=data]'
    snakemake -c all --config 'overrides=[cluster.partitions=12, grid.lr=[0.001,0.01]]'

A group chosen on the command line (`overrides=[embed=pca]`) takes that file as it is: what the
experiment changed within its own choice is left out, since it need not fit another. Changes such as
`overrides=[embed=pca, embed.dims=8]` still apply.

## Grid

`grid` maps a name to a list of values; every combination is a grid point. A name is a setting of
`train_specialists` (`lr`, `schedule`, `warm_up`, `batch_size`, `weight_decay`, `epsilon`, `loss`,
`seed`; not `rows_seen`, `epochs`, `patience`, `base_share`, `buffer_rows`) or `model.ARGUMENT`. A
point's id comes from its content, so one more value trains that point alone, and then what follows
from the choice among points runs again. `grid: {}` is one point with the settings as they are. A
sample of the points, ranges such as `grid.lr={low: 0.001, high: 0.1, log: true}`, and trainings
that end early where others are better are settings of `search`, see `docs/search.md`.

All points start from one base, so that a point may change how a model is trained and what its
forward pass does, but not the shape of its parameters: `grid.model.lr=[0.001,0.003]` fits
`examples.housing_net.HousingNet`, whose optimiser is its own. An argument must have a value under
`model` to be varied. Arguments that change the shape of parameters, as all of the models in
`shoal.models` do, are refused. A list of values of the argument itself, `model.width=[16,32]`, or
of models, `model=[mlp,convnet]`, makes variants, each with a base of its own: `docs/variants.md`.

## Model

`_target_` is the dotted path of a class derived from `torch.nn.Module`, in an installed package or
in the current folder, not in both; the other keys are its keyword arguments. Four facts of the
encoded data may stand for a value:

- `${data:features}`: numbers in one row, all together
- `${data:shape}`: shape of one row, such as `[8, 8]` where the only input is an image
- `${data:outputs}`: classes, or 1 for a number; of the task `own` the number of label columns
- `${data:tokens}`: how many whole numbers there are, where the only input is a column of tokens

The code of the class counts as part of the model: its module and the modules of the project that it
imports, comments and docstrings aside. So does the content of data files that it reads, which
`files` names, such as `files: [weights.bin]`. A file of the project that is read when the model is
imported or built and is not named there is an error before the first job.

A plain `torch.nn.Module` is trained with the loss and AdamW of `train_specialists`. A
LightningModule keeps its own `training_step`, optimiser and schedule; `batch_size`, `rows_seen`,
`epochs`, `patience` and `seed` still apply. For classes the output is logits `(rows, classes)`; for
numbers `(rows,)` or `(rows, 1)`, in units of the training labels' standard deviation from their
mean.

Where `sources.task` is `own` the model says its loss itself, for each row: `row_losses(batch)`. It
may have any number of label columns or none; see
[a loss of its own](../docs/models.md#a-loss-of-its-own).

A batch is `(x, y)`: `x` float32 `(rows, *shape)`, of tokens int64; `y` class codes, int64, or
numbers, float32, `(rows,)`, of the task `own` float32 `(rows, labels)`. Arrays keep the axes that
they have in their file, and pictures in colour have their channels first. Of images without
channels, `(rows, height, width)`, `x.unsqueeze(1)` is what a convolution takes; where channels are
last, it is `x.permute(0, 3, 1, 2)`. `shoal.models.ConvNet`
and VICReg take all three: the last axis is the channels' if it is at most 4 long and the first is
longer.

To Lightning a training is one epoch of as many steps as the budget has. A scheduler of the module's
own that steps once per epoch, which is Lightning's default, steps after each pass over the training
rows; one that takes a metric has to step with the optimiser. To count FLOPs `training_step` is
called once before, without a trainer: it cannot use `self.trainer` or `self.optimizers()`. What a
model keeps, its parameters and persistent buffers, has to be of a type that numpy and safetensors
both have: bfloat16, sparse and quantized tensors are refused before anything trains.

Before the first job of a run a process of its own imports the class, unless it is one of Shoal's,
compares the arguments with its signature, and refuses values of the grid that change the shape of
parameters; so it looks at functions of transform steps and classes of encoders. Where jobs run in
environments that Snakemake makes (`--sdm conda`), nothing is imported beforehand. A dry run and
`shoal plan` import nothing, but refuse a module that is not there. What the model raises when it is
built or trained is one line with its file and line.

## Splits

| method | a row's fold is decided by |
| --- | --- |
| `hash` | a seeded hash of its key; new rows move no other |
| `group` | a seeded hash of the value in the column of kind `group`; of its key where it has none |
| `time` | the column of kind `time`: the earliest rows train, the latest test; fitted once |
| `column` | the value of `split.column`, by `split.values`; `split.outside` is in no fold |
| `random` | a table of keys with exact shares, fitted once; later rows by the hash of their key |
| `stratified` | as `random`, within each class, or within each tenth of a numeric label |
| `k_fold` | a seeded hash of its key: one of `folds` parts is test, the next validation |
| `similarity` | its cluster of nearly identical rows, fitted once; later rows by their key |

A key is a hash of the row's id, or of its inputs where no column is an id. The parts of a k-fold
do not depend on `fold`: its test folds for `fold` 0, 1, … hold every row exactly once.

Rows that a split keeps together, by group, similarity or blocks of time, are drawn, tested and
counted as one wherever something is judged: see "Units" in `docs/metrics.md`.

For `similarity` a row is a set of parts: substrings of its texts, its categories, its numbers to
some digits. Rows that share enough of them are linked, and what is linked shares a fold. The limits
of that are in `src/shoal/split/similarity.py`.

## Shuffled labels

`sources.shuffle_labels=true` runs the same experiment with labels that say nothing: a control, see
`docs/controls.md`. Give it a name of its own, so that its results lie beside the true ones:

    snakemake -c all --config 'overrides=[sources.shuffle_labels=true, name=demo-shuffled]'
"""

_STEPS = """\
## Transform steps

Steps that drop, repeat or augment rows touch the training fold alone, as the table says of each.
What a step draws for a row is a function of `transform.seed`, the step's name and place in the
list, the column and the row's key, however rows are cut into source files. Written as
`steps: [{step: impute, columns: [age], options: {strategy: median}}]`.

A function of your own is `{step: function, columns: [note], options: {_target_: my_steps.shorten,
training_only: false, arguments: {words: 5}}}`: `shorten(value, words=5)` returns what the value
becomes. Its file is part of the identity of what it makes. A pool calls it for rows to predict
where it is not for training rows alone: then loading needs `trust`, as for a model of your own
([what may run](../docs/trust.md)).
"""

_ENCODERS = """\
## Encoders

Named for a kind of column (`encode.kinds.numeric`) or for one column (`encode.columns.age`), as in
`{encoder: ngrams, features: 512}`. Instead of `encoder`, `_target_` names any class with `fit` and
`transform`, such as `sklearn.preprocessing.PowerTransformer`. Classes other than scikit-learn's for
preprocessing, feature extraction, PCA, truncated SVD and random projections see one row at a time,
some tenths of a millisecond each, so that a row's features depend on no other row. A value is
unseen if the training rows that encoders are fitted on did not have it. DNA as the only input,
`{encoder: sequence_one_hot, alphabet: dna}`, has shape `[length, 4]`; a model that takes it flat,
such as `shoal.models.MLP`, or as an image, such as `shoal.models.ConvNet`, works on it.
"""


def introduction() -> str:
    """Everything before the list of settings, Markdown."""
    from shoal.encode.encoders import ENCODERS
    from shoal.transform.pipeline import STEPS

    steps = _table(
        "step", STEPS, {"columns": _kinds("works_on"), "folds": _folds, "fitted on": _fit}
    )
    facts = {"columns": _kinds("kinds"), "missing": _line("Missing"), "unseen": _line("Unseen")}
    encoders = _table("encoder", ENCODERS, facts | {"inverse": _inverse})
    return "\n".join([_TEXT, _STEPS, *steps, "", _ENCODERS, *encoders, ""])


def _table(
    title: str, classes: Mapping[str, Any], facts: Mapping[str, Callable[[Any], str]]
) -> Iterator[str]:
    """Each class with its purpose, its options and some facts."""
    head = [title, "what it does", *facts, "options"]
    yield from [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for name, kind in classes.items():
        purpose = str(inspect.getdoc(kind)).split("\n\n", maxsplit=1)[0].replace("\n", " ")
        options = "; ".join(
            f"`{field.alias or option}`: {field.description}"
            for option, field in kind.Options.model_fields.items()
        )
        cells = [f"`{name}`", purpose, *(fact(kind) for fact in facts.values()), options]
        yield f"| {' | '.join(cells)} |"


def _kinds(attribute: str) -> Callable[[Any], str]:
    return lambda kind: ", ".join(getattr(kind, attribute))


def _line(label: str) -> Callable[[Any], str]:
    """The text behind a label in the docstring of a class, or of the nearest one above it."""

    def line(kind: Any) -> str:  # noqa: ANN401 - a class
        docs = (str(base.__doc__) for base in kind.__mro__)
        lines = (re.search(rf"^ *{label}: (.*)\.$", doc, re.MULTILINE) for doc in docs)
        return next((found[1] for found in lines if found), "-")

    return line


def _inverse(encoder: Any) -> str:  # noqa: ANN401 - a class of encoder
    from shoal.encode.column import ColumnEncoder

    return "yes" if encoder.decode is not ColumnEncoder.decode else "no"


def _fit(step: Any) -> str:  # noqa: ANN401 - a class of step
    return {"sample": "a sample", "all": "all rows"}.get(step.fits_on, "-")


def _folds(step: Any) -> str:  # noqa: ANN401 - a class of step
    """Which folds a step touches."""
    if step.by_options:
        return "by its options"
    return "training" if step.training_only else "all"
