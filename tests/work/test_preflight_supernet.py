"""A preflight builds the supernet that a search is to train, and sends images through all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from conftest import Workplace
from torch import Tensor, nn

from archsearch.api.signature import image_signature
from archsearch.api.space import Space
from archsearch.networks import Alternatives, Chooser, Mix, supernet
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
        operations = {"same": lambda _: nn.Identity(), "wide": lambda _: self.wide()}
        self.choice = chooser.operation("type", Alternatives(operations, image_channels))
        self.classifier = nn.Linear(image_channels, classes)

    def wide(self) -> nn.Module:
        """It makes nothing of an image of 8 x 8."""
        return nn.MaxPool2d(16)

    def forward(self, images: Tensor, mix: Mix | None = None) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        logits: Tensor = self.classifier(self.choice(images, mix).mean((2, 3)))
        return logits


CUSTOM = {"custom": {"module": f"{__name__}:Wide", "choices": [{"name": "type", "options": ["same", "wide"]}]}}


class Positional(Wide):
    """A network whose author counts on the weights of both operations, which a later stage does not have."""

    def wide(self) -> nn.Module:
        """Here it passes."""
        return nn.MaxPool2d(3, 1, padding=1)

    def forward(self, images: Tensor, mix: Mix | None = None) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        logits = super().forward(images, mix)
        return logits if mix is None else logits * (mix["type"][0] + mix["type"][1])


STAGES = [{}, {"depthPercent": 220, "keepPercent": 50}]


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


def test_the_supernets_of_every_stage_are_built(workplace: Workplace) -> None:
    """Deeper ones, with so many operations as the stage has, until each operation was in one of them."""
    space = {"dartsCells": SPACES["dartsCells"] | {"operations": ["none", "skip_connect", "sep_conv_3x3"]}}
    algorithm = {"differentiable": {"method": "PDARTS", "stages": [*STAGES, {"depthPercent": 340, "keepPercent": 34}]}}
    ending = workplace.run(workplace.document("Preflight", space=space, algorithm=algorithm, evaluation=None))
    assert ending.code == 0, ending.log
    said = [line.split(" parameters")[0] for line in ending.log if line.startswith("supernet")]
    built = [(line.split(":")[0], int(line.split(": ")[1].replace(",", ""))) for line in said]
    # 50 % of three operations are two, so that two supernets have all; 34 % are one, so that three have.
    names = ["supernet of stage 1", *["supernet of stage 2"] * 2, *["supernet of stage 3"] * 3]
    assert [name for name, _ in built] == names
    sizes = {name: max(size for own, size in built if own == name) for name in names}
    expected = {}
    for number, (percent, cells) in enumerate([(100, 3), (50, 7), (34, 10)], 1):
        small = SMALL | {"cells": cells}
        own = ["none", "skip_connect", "sep_conv_3x3"] if percent == 100 else ["skip_connect", "sep_conv_3x3"]
        deep = space_of(
            Space.model_validate({"dartsCells": {**space["dartsCells"], "operations": own, "search": small}})
        )
        kept = replace(deep, choices=tuple(
            choice if choice.is_subset or percent > 34 else replace(choice, options=("sep_conv_3x3",), extra=())
            for choice in deep.choices
        ))  # fmt: skip
        network = supernet(kept, signature=image_signature((1, 8, 8), 10))
        expected[f"supernet of stage {number}"] = sum(weight.numel() for weight in network.parameters())
    assert sizes == expected


def test_a_network_that_only_a_later_stage_breaks_is_found(workplace: Workplace) -> None:
    custom = {"module": f"{__name__}:Positional", "choices": CUSTOM["custom"]["choices"], "mixable": True}
    document = {"space": {"custom": custom}, "evaluation": None}
    whole = {"differentiable": {"method": "PDARTS", "stages": STAGES[:1]}}
    assert workplace.run(workplace.document("Preflight", algorithm=whole, **document)).code == 0
    staged = {"differentiable": {"method": "PDARTS", "stages": STAGES}}
    ending = workplace.run(workplace.document("Preflight", algorithm=staged, **document))
    assert ending.code == 3
    assert "images of 1x8x8 do not pass through the supernet of stage 2 (" in str(ending.message.error)
    assert f"; correct {__name__}:Positional" in str(ending.message.error)
