"""That shared weights say something about what each architecture is worth alone; benchmarks/ measures how much."""

from __future__ import annotations

from argparse import Namespace

import numpy as np

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.spaces import space_of
from benchmarks.shared_weights_rank import read_images, scratch_accuracy, shared_accuracies
from benchmarks.zero_cost import kendall

SIZE = {"channels": 4, "cells": 1}
SPACE = space_of(SpaceSpec(nas_bench201=NasBench201.model_validate({"search": SIZE, "final": SIZE})))
NONE = dict.fromkeys((choice.name for choice in SPACE.choices), "none")
# Cells that differ by much: digits tell others hardly apart.
CELLS = [
    SPACE.architecture(NONE | values)
    for values in (
        {},
        {"cell/1/0": "avg_pool_3x3", "cell/2/1": "avg_pool_3x3", "cell/3/2": "avg_pool_3x3"},
        {"cell/3/0": "avg_pool_3x3"},
        {"cell/3/0": "skip_connect"},
        {"cell/3/0": "skip_connect", "cell/2/0": "nor_conv_3x3", "cell/3/2": "nor_conv_3x3"},
    )
]


def test_cells_that_differ_by_much_rank_with_shared_weights_as_they_do_alone() -> None:
    """Tau was 0.8, 1.0 and 0.8 in three seeds."""
    data = read_images("digits", 0, "Shift")
    recipe = Namespace(augmentation="None", sampling="Uniform", epochs=25, scratch_epochs=3)
    shared = shared_accuracies(SPACE, data, CELLS, recipe, 0)["own"]
    alone = np.array([scratch_accuracy(SPACE, data, cell, recipe, 0) for cell in CELLS])
    print(shared.round(2), alone.round(2))
    assert shared[0] < 0.2
    assert kendall(shared, alone) > 0.5
