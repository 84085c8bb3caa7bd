"""The membranes of ISBI 2012 (30 images of 512x512 pixels, under an electron microscope) as a task reads them.

    python examples/data/membranes.py isbi2012_membrane_30.npz FOLDER

The input holds the images `x` and the masks `y` (N, 512, 512): 0 where there is a membrane, 1 inside of cells, as the
challenge has them. FOLDER/membranes.npz is what `path` names in examples/segmentation.yaml: of the stack of 30 sections
the last six are for testing, so that only one of them has a neighbour among those that are trained on. The test images
of the challenge have no public masks.
"""

import sys
from pathlib import Path

import numpy as np

TEST = 6

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
with np.load(source, allow_pickle=False) as found:
    images, masks = found["x"], found["y"]
folder.mkdir(parents=True, exist_ok=True)
np.savez_compressed(
    folder / "membranes.npz",
    train_images=images[:-TEST], train_masks=masks[:-TEST], test_images=images[-TEST:], test_masks=masks[-TEST:],
)  # fmt: skip
print(f"{folder / 'membranes.npz'}: {len(images) - TEST} images to train with, {TEST} to test with")
