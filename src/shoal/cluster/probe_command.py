"""Command ``cluster-fit`` for the assigners that train probes.

Apart from the other commands of cluster, so that a change of training reassigns no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shoal.settings.discovery import AutoAtoms, LossAtoms
    from shoal.settings.learning import Model, Training


def cluster_fit(
    settings: LossAtoms | AutoAtoms,
    model: Model,
    training: Training,
    rows: Sequence[Path],
    embedder_path: Path,
    base_path: Path,
    shapes_path: Path,
    out: Path,
    ledger_out: Path,
    threads: int,
) -> None:
    """Fit the assigner with the help of probes, which start from the base.

    Args:
        settings: The choices.
        model: The user's model.
        training: How specialists are trained, and so probes.
        rows: Encoded shards.
        embedder_path: The embedder.
        base_path: The base.
        shapes_path: Shape of rows and labels.
        out: The assigner.
        ledger_out: Its ledger.
        threads: CPU threads; the bits depend on it.

    Raises:
        DataError: There are no rows to fit on or to compare candidates on.
    """
    from threadpoolctl import threadpool_limits

    from shoal.cluster.by_probes import fit_auto, fit_by_loss
    from shoal.cluster.command import found
    from shoal.cluster.probes import ProbeRecipe, labelled_sample
    from shoal.embed.embedder import load_embedder
    from shoal.formats.documents.weights import BaseFacts
    from shoal.formats.fitted_state import load_state
    from shoal.formats.kinds import TRAIN, VALIDATION
    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.training.determinism import deterministic

    deterministic(threads)
    ledger = Ledger("cluster_fit")
    base, facts = load_state(base_path, BaseFacts)
    shapes, rows_seen = Shapes.load(shapes_path), facts["budget"]["rows_seen"]
    recipe = ProbeRecipe(model, training, shapes, base, rows_seen, ledger)
    embedder, drawn = load_embedder(embedder_path), (settings.fit_rows, settings.seed)
    with threadpool_limits(threads):
        sample, ledger.rows_read = labelled_sample(rows, embedder, TRAIN, *drawn)
    import sklearn.cluster  # noqa: F401 - its thread pools are limited only once loaded

    with threadpool_limits(threads):
        if settings.method == "loss":
            assigner = fit_by_loss(settings, sample, ledger.rows_read, recipe)
        else:
            validation, _ = labelled_sample(rows, embedder, VALIDATION, *drawn, half=1)
            assigner = fit_auto(settings, sample, validation, ledger.rows_read, recipe)
    ledger.facts = found(assigner, embedder)
    assigner.save(out)
    ledger.write(ledger_out)
