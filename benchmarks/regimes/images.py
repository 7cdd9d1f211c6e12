"""Images in orientations, with labels that follow them or not; and two kinds of images as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.demo import ORIENTATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SHIFT = 3
"""Classes that a quarter turn shifts the label by, as in the demo."""


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 1,797 digits of scikit-learn: images ``(rows, 8, 8)`` and labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images.astype(np.uint8), found.target.astype(np.int64)


def mnist(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """``mnist.npz`` as means of 2 x 2 pixels: images ``(rows, 14, 14)`` and labels."""
    with np.load(folder / "mnist.npz") as arrays:
        pictures, labels = arrays["x"], arrays["y"].astype(np.int64)
    means = pictures.reshape(len(pictures), 14, 2, 14, 2).mean(axis=(2, 4))
    return means.round().astype(np.uint8), labels


def turned(
    pictures: NDArray[np.uint8], labels: NDArray[np.int64], *, conflicting: bool
) -> dict[str, NDArray[Any]]:
    """Each image in four orientations.

    Args:
        pictures: ``(rows, side, side)``.
        labels: 0 to 9.
        conflicting: Whether a quarter turn shifts the label, so that orientations disagree.

    Returns:
        ``id``, ``image``, ``label`` and ``regime``, the quarter turns, of four times the rows.
    """
    regime = np.repeat(np.arange(ORIENTATIONS), len(pictures))
    number = np.tile(np.arange(len(pictures)), ORIENTATIONS)
    shift = SHIFT * regime if conflicting else 0
    turns = [np.rot90(pictures, turn, axes=(1, 2)) for turn in range(ORIENTATIONS)]
    return {
        "id": _ids(number, regime),
        "image": np.concatenate(turns),
        "label": (np.tile(labels, ORIENTATIONS) + shift) % 10,
        "regime": regime,
    }


def plain(pictures: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The images as they are; no regimes."""
    number = np.arange(len(pictures))
    return {"id": _ids(number, np.zeros_like(number)), "image": pictures, "label": labels}


def mnist_fashion(folder: Path) -> dict[str, NDArray[Any]]:
    """MNIST and Fashion-MNIST, 28 x 28, with ten shared labels; the regime is which of the two."""
    pictures, labels = [], []
    with np.load(folder / "mnist.npz") as arrays:
        pictures.append(arrays["x"])
        labels.append(arrays["y"])
    with np.load(folder / "fashion_mnist.npz") as arrays:
        pictures.append(np.concatenate([arrays["x_train"], arrays["x_test"]]))
        labels.append(np.concatenate([arrays["y_train"], arrays["y_test"]]))
    counts = [len(part) for part in labels]
    regime = np.repeat(np.arange(2), counts)
    number = np.concatenate([np.arange(count) for count in counts])
    return {
        "id": _ids(number, regime),
        "image": np.concatenate(pictures).astype(np.uint8),
        "label": np.concatenate(labels).astype(np.int64),
        "regime": regime,
    }


def _ids(number: NDArray[np.int64], regime: NDArray[np.int64]) -> NDArray[Any]:
    """Row ids such as ``00412-r2``."""
    pairs = zip(number.tolist(), regime.tolist(), strict=True)
    return np.array([f"{row:05d}-r{kind}" for row, kind in pairs], dtype=object)
