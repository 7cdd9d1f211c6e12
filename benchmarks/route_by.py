"""What sharing a route changes, and what atoms should be found on.

Texts of mixed_text are embedded by the bytes they begin with, cut into partitions by k-means atoms
found on all rows, on the leading row of each row's document, or on each leading row once, and
assigned one by one and by document.

    python -m benchmarks.route_by --data FOLDER/mixed_text.parquet
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.metrics import mutual_info_score

from shoal.cluster.fit import fit_assigner
from shoal.formats.hashing import KEY_BYTES, hash_rows
from shoal.formats.units import leading
from shoal.settings.discovery import KMeansAtoms

_BYTES, _DIMS, _FIT_ROWS = 128, 16, 20_000


def main() -> None:
    """Print a line for each way to find atoms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--partitions", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    rows = pd.read_parquet(arguments.data)
    training, test = ((rows["fold"] == fold).to_numpy() for fold in ("train", "test"))
    source = pd.factorize(rows["source"])[0]
    keys = hash_rows({"id": rows["id"].astype(str).to_numpy(dtype=object)}, KEY_BYTES)
    lead = leading(keys, pd.factorize(rows["document"])[0])
    embedding = embedded(rows["text"], training)
    for partitions in arguments.partitions:
        for seed in range(arguments.seeds):
            drawn = np.random.default_rng(seed).permutation(np.flatnonzero(training))[:_FIT_ROWS]
            fitted_on = {
                "all rows": drawn,
                "leading rows by size": lead[drawn],
                "leading rows once": np.unique(lead[drawn]),
            }
            for name, sample in fitted_on.items():
                settings = KMeansAtoms(
                    method="kmeans", partitions=partitions, max_partitions=partitions,
                    atoms=8 * partitions, lower=0.5, upper=2.0, fit_rows=_FIT_ROWS, min_rows=50,
                    seed=seed,
                )  # fmt: skip
                assigner, _ = fit_assigner(settings, embedding[sample], int(training.sum()))
                alone = assigner.assign(embedding)
                shared = alone[lead]
                held = np.bincount(shared[training], minlength=partitions) / training.sum()
                told = [mutual_info_score(source[test], cut[test]) for cut in (alone, shared)]
                print(
                    f"{partitions:3} seed {seed} {name:20}"
                    f" elsewhere {(alone != shared)[test].mean():.2f},"
                    f" sizes {held.min() * partitions:.2f} to {held.max() * partitions:.2f},"
                    f" nats of the source {told[0]:.2f} alone, {told[1]:.2f} shared"
                )


def embedded(texts: pd.Series, training: np.ndarray) -> np.ndarray:
    """Principal components of roots of byte counts, float32 ``(rows, dims)``."""
    counts = np.stack(
        [
            np.bincount(np.frombuffer(text.encode()[:_BYTES], np.uint8), minlength=256)
            for text in texts
        ]
    )
    roots = np.sqrt(counts)
    pca = PCA(_DIMS, random_state=0).fit(roots[training])
    return np.asarray(pca.transform(roots), dtype=np.float32)


if __name__ == "__main__":
    main()
