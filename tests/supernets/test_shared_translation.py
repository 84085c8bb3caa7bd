"""Shared weights of Transformers: every way to train and to search them works on pairs of texts as on images."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch

from archsearch.api import Space as SpaceSpec
from archsearch.api.enas import Enas as Settings
from archsearch.api.evaluation import ScoreName
from archsearch.api.task import Task
from archsearch.evaluation import Trainer
from archsearch.evaluation.shared import evaluate_shared
from archsearch.evaluation.zero_cost import score
from archsearch.networks import network, supernet
from archsearch.spaces import space_of
from archsearch.supernets.enas import Enas
from archsearch.supernets.one_path import OnePath
from archsearch.tasks import TaskData, load

SPACE = space_of(
    SpaceSpec.model_validate(
        {
            "elasticTransformer": {
                "widths": [8, 16], "encoderDepths": [1], "decoderDepths": [1, 2], "feedForward": [8, 16],
                "heads": [1, 2], "headChannels": 4, "attends": [1], "search": {"widthPercent": 100},
            }
        }
    )
)  # fmt: skip
TASK = Task.model_validate(
    {
        "translation": {
            "dataset": {"builtin": "numberWords"}, "numberWords": {"pairs": 200, "largest": 999, "source": "digits"},
            "vocabulary": 48, "training": {"learningRate": "0.01", "batchSize": 32},
        }
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> TaskData:
    return load(TASK, None)


@pytest.mark.parametrize(
    "sampling", [{"sampling": "Uniform"}, {"sampling": "Fair"}, {"sampling": "Sandwich", "distillation": True}], ids=str
)
def test_shared_weights_learn(data: TaskData, sampling: dict[str, Any]) -> None:
    torch.manual_seed(0)
    shared = supernet(SPACE, signature=data.signature)
    passes = OnePath(SPACE, shared, data, seed=1, **sampling)
    training = Trainer(shared, data, TASK.training, epochs=2, seed=1, passes=passes)
    rng = np.random.default_rng(0)
    drawn = [SPACE.sample(rng) for _ in range(2)]

    def losses() -> list[float]:
        found = (
            evaluate_shared(shared, each, data, calibration=data.training.first(8), selection=data.selection)
            for each in drawn
        )
        return [values["loss"] for values in found]

    before = losses()
    for _ in range(2):
        training.run_epoch(lambda: False)
    assert all(after < first for after, first in zip(losses(), before, strict=True))


def test_a_controller_is_rewarded_by_right_tokens(data: TaskData) -> None:
    torch.manual_seed(0)
    settings = Settings.model_validate(
        {"epochs": 1, "batchSize": 32, "controllerSteps": 2, "samples": 2, "derivedSamples": 2}
    )
    search = Enas(SPACE, supernet(SPACE, signature=data.signature), data, TASK.training, settings, seed=7)
    report = search.run_epoch(lambda: False)
    assert report is not None
    assert all(math.isfinite(value) for value in report.values.values())


@pytest.mark.parametrize("name", get_args(ScoreName))
def test_networks_have_scores(data: TaskData, name: ScoreName) -> None:
    torch.manual_seed(0)
    made = network(SPACE, SPACE.at(SPACE.size() - 1), stack="search", signature=data.signature)
    prepared = [data.prepare(data.weights.at(slice(first, first + 8))) for first in (0, 8)]
    batches = [(batch.inputs, batch.targets) for batch in prepared]
    if name == "jacobCov":
        with pytest.raises(ValueError, match="must hold numbers for jacobCov, but got tokens alone"):
            score(name, made, batches, data.loss)
        return
    found = score(name, made, batches, data.loss)
    assert math.isfinite(found)
    assert found > 0 or name == "grasp"
