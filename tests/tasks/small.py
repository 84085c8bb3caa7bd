"""The smallest data of every task and the smallest network of every space, as a spec has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from question_data import write

from archsearch.api.space import Space as SpaceSpec
from archsearch.api.task import Task
from archsearch.spaces import Space, space_of
from archsearch.tasks import TaskData, load

Settings = dict[str, Any]


def digits(_folder: Path) -> Settings:
    return {"dataset": {"builtin": "digits"}}


def questions(folder: Path) -> Settings:
    write(folder / "small")
    return {"dataset": {"volume": {"claimName": "data", "path": "small"}}}


DATA: dict[str, Callable[[Path], Settings]] = {
    "imageClassification": digits,
    "visualQuestionAnswering": questions,
}
"""By task: writes its data to a folder, and returns its settings."""


def sized(**size: Any) -> Settings:
    return {"search": size, "final": size}


CHAIN_STEM = {"channels": 4, "separable": 4}
SPACES: dict[str, Settings] = {
    "dartsCells": {"nodes": 2, **sized(channels=2, cells=3)},
    "nasBench201": sized(channels=4, cells=1),
    "nasnetCells": {"nodes": 2, **sized(channels=4, cells=3)},
    "enasMacro": {"layers": 3, **sized(channels=4)},
    "mbconvChain": {
        "stem": CHAIN_STEM,
        "stages": [{"channels": 4, "layers": 2}, {"channels": 8, "layers": 1, "stride": 2}],
        "headChannels": 16,
        "blocks": ["k3e1g2", "k5e2"],
    },
    "elasticChain": {
        "stem": {"channels": 4},
        "stages": [{"channels": 4, "depths": [1, 2]}, {"channels": 8, "depths": [1], "stride": 2}],
        "headChannels": 16,
    },
    "resolutionTrellis": {"layers": 3, "nodes": 1, **sized(channels=4)},
    "hierarchicalMotifs": {"motifs": 2, "motifNodes": 3, "cellNodes": 3, **sized(channels=4, cells=1)},
    "fusionNetwork": {"imageLayers": 2, "questionLayers": 2, **sized(channels=4, width=8)},
}


def small_data(task: str, folder: Path) -> TaskData:
    return load(Task.model_validate({task: DATA[task](folder)}), folder)


def small_space(name: str) -> Space:
    return space_of(SpaceSpec.model_validate({name: SPACES[name]}))
