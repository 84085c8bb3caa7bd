"""Plain DARTS ends with skip connections only on the cell of NAS-Bench-201, and beta-DARTS, the default, does not."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import pytest

from archsearch.api.differentiable import Differentiable
from benchmarks.collapse import epochs_of, space_with
from benchmarks.shared_weights_rank import read_images

DATA = Path(os.environ.get("ARCHSEARCH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
IMAGES = DATA / "images" / "cifar10_jpeg_train.npz"
EPOCHS, SEEN = 60, 24


@pytest.mark.skipif(not IMAGES.exists(), reason=f"needs {IMAGES}")
@pytest.mark.timeout(600)
def test_the_default_does_not_collapse_where_darts_does() -> None:
    """The beginning of one search of each that `benchmarks.collapse` runs to its end, with several seeds."""
    data, skips = read_images(str(IMAGES), 3125, "ShiftFlip"), {}
    for method in ("DARTS", "BetaDARTS"):
        settings = {"method": method, "order": "First", "epochs": EPOCHS, "batchSize": 64}
        search = epochs_of(
            space_with(8, 1), data, Differentiable.model_validate(settings | {"architectureLearningRate": "0.01"}), 0
        )
        *_, (last, _) = islice(search, SEEN)
        skips[method] = last.skips
    assert skips["DARTS"] == 6
    assert skips["BetaDARTS"] <= 2
