"""A preflight builds the supernet that a search is to train, and sends images through all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from conftest import Workplace
from torch import Tensor, nn

from archsearch.api.space import Space
from archsearch.networks import Alternatives, Chooser, Mix
from archsearch.spaces import space_of
from archsearch.work.preflight import covering

DARTS = {"algorithm": {"differentiable": {}}, "evaluation": None}
ENAS = {"algorithm": {"enas": {}}, "evaluation": None}
SHARED = {"evaluation": {"sharedWeights": {}}}
SMALL = {"channels": 4, "cells": 3}
STAGED = {"channels": 4, "cells": 1}
SPACES: dict[str, dict[str, Any]] = {
    "dartsCells": {"nodes": 2, "search": SMALL, "final": SMALL},
    "nasBench201": {"search": STAGED, "final": STAGED},
    "nasnetCells": {"nodes": 2, "search": SMALL, "final": SMALL},
    "enasMacro": {"layers": 3, "search": {"channels": 4}, "final": {"channels": 4}},
    "mbconvChain": {"stages": [{"channels": 8, "layers": 2}, {"channels": 8, "layers": 2, "stride": 2}]},
    "elasticChain": {"stages": [{"channels": 8, "depths": [1, 2]}, {"channels": 8, "depths": [1, 2], "stride": 2}]},
    "resolutionTrellis": {"layers": 3, "levels": 2, "nodes": 2, "search": {"channels": 4}, "final": {"channels": 4}},
    "hierarchicalMotifs": {"motifs": 2, "motifNodes": 3, "cellNodes": 3, "search": STAGED, "final": STAGED},
}


class Wide(nn.Module):
    """A network of a user's own, with an operation for images that are larger than those of the task."""

    def __init__(
        self, chooser: Chooser, settings: Mapping[str, str], *, image_channels: int, classes: int, affine: bool
    ) -> None:
        super().__init__()
        operations = {"same": lambda _: nn.Identity(), "wide": lambda _: nn.MaxPool2d(16)}
        self.choice = chooser.operation("type", Alternatives(operations, image_channels))
        self.classifier = nn.Linear(image_channels, classes)

    def forward(self, images: Tensor, mix: Mix | None = None) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        logits: Tensor = self.classifier(self.choice(images, mix).mean((2, 3)))
        return logits


CUSTOM = {"custom": {"module": f"{__name__}:Wide", "choices": [{"name": "type", "options": ["same", "wide"]}]}}


@pytest.mark.parametrize("kind", [ENAS, SHARED], ids=["enas", "sharedWeights"])
@pytest.mark.parametrize("name", SPACES)
def test_every_space_passes_one_path_at_a_time(workplace: Workplace, name: str, kind: dict[str, Any]) -> None:
    ending = workplace.run(workplace.document("Preflight", space={name: SPACES[name]}, **kind))
    assert ending.code == 0, ending.log
    assert any(line.startswith("supernet:") for line in ending.log)


@pytest.mark.parametrize("small", [True, False], ids=["small", "default"])
@pytest.mark.parametrize("name", SPACES)
def test_the_paths_go_through_every_operation_of_every_choice(name: str, small: bool) -> None:
    space = space_of(Space.model_validate({name: SPACES[name] if small else {}}))
    offered = {(choice.name, option) for choice in space.choices if not choice.is_subset for option in choice.options}
    paths = list(covering(space, 0))
    assert offered <= {item for path in paths for item in path.values.items()}
    assert len(paths) <= 40


@pytest.mark.parametrize("kind", [ENAS, SHARED, DARTS], ids=["enas", "sharedWeights", "differentiable"])
def test_an_operation_that_images_do_not_pass_is_found(workplace: Workplace, kind: dict[str, Any]) -> None:
    """Although the random architecture does not have it: the same space passes where no supernet is trained."""
    space = {"custom": {**CUSTOM["custom"], "mixable": kind is DARTS}}
    assert workplace.run(workplace.document("Preflight", space=space, spec={"seed": 0})).code == 0
    ending = workplace.run(workplace.document("Preflight", space=space, spec={"seed": 0}, **kind))
    assert ending.code == 3
    assert "space: images of 1x8x8 do not pass through the supernet (" in str(ending.message.error)
    assert f"; correct {__name__}:Wide" in str(ending.message.error)
