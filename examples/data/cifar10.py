"""Writes CIFAR-10 as a `.npz` file that an image classification task reads, from JPEG files in one archive.

python examples/data/cifar10.py TRAIN.npz TEST.npz FOLDER --images 4000

TRAIN.npz and TEST.npz hold `blob` (all JPEG files, one after the other), `lens` (bytes of each) and `label`.
"""

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image


def read(file: Path, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """So many images (N, 32, 32, 3) uint8 with their labels, drawn without replacement."""
    with np.load(file, allow_pickle=False) as arrays:
        blob, lengths, labels = arrays["blob"], arrays["lens"].astype(np.int64), arrays["label"]
    ends = np.cumsum(lengths)
    chosen = np.random.default_rng(seed).permutation(len(lengths))[:count]
    files = (BytesIO(blob[ends[at] - lengths[at] : ends[at]].tobytes()) for at in chosen)
    return np.stack([np.asarray(Image.open(each).convert("RGB")) for each in files]), labels[chosen].astype(np.int64)


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=4000, help="training images; a fifth as many test images")
    options = parser.parse_args()
    images, labels = read(options.train, options.images, seed=0)
    test_images, test_labels = read(options.test, options.images // 5, seed=0)
    options.folder.mkdir(parents=True, exist_ok=True)
    np.savez(options.folder / "cifar10.npz", train_images=images, train_labels=labels, test_images=test_images,
             test_labels=test_labels)  # fmt: skip


if __name__ == "__main__":
    main()
