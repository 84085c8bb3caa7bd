"""A task without labels: which way up is an image? (Gidaris et al. 2018; for architecture search Liu et al. 2020.)"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from archsearch.api.signature import Input, Signature
from archsearch.tasks import DataError, Labelled, Split


class Rotations(Labelled):
    """Images (N, 1, 8, 8) and by how many quarters they were turned; `Labelled` has the loss and the accuracy."""


def load(_folder: Path | None, settings: Mapping[str, str], seed: int) -> Rotations:
    """scikit-learn's digits in four parts, each image in one of them and there in every rotation."""
    images = load_digits().images[:, None].astype(np.float32)  # (1797, 1, 8, 8), 0 to 16
    count = int(settings.get("images", len(images)))
    if not 40 <= count <= len(images):
        raise DataError(f"task.custom.settings.images must be between 40 and {len(images)}, but got {count}")
    order = np.random.default_rng(seed).permutation(len(images))[:count]
    ends = [count * share // 10 for share in (3, 6, 8)]
    weights, architecture, selection, test = np.split(images[order], ends)
    trained = np.concatenate([weights, architecture])
    given = Input(name="images", shape=(1, 8, 8), mean=(float(trained.mean()),), std=(float(trained.std()),))
    signature = Signature(inputs=(given,), outputs="Classes", classes=4)
    return Rotations(signature, turned(weights), turned(architecture), turned(selection), turned(test))


def turned(images: np.ndarray) -> Split:
    """The images turned by 0, 1, 2 and 3 quarters."""
    each = [torch.from_numpy(np.rot90(images, quarters, axes=(2, 3)).copy()) for quarters in range(4)]
    return Split(torch.cat(each), torch.arange(4).repeat_interleave(len(images)))
