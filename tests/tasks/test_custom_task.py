"""A custom task is a function of the user's image: what keeps the contract works, and what does not is told."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from archsearch.api.load import read_search
from archsearch.api.task import Task
from archsearch.evaluation import Trainer, evaluate
from archsearch.networks import network
from archsearch.spaces import space_of
from archsearch.tasks import DataError, load

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom-task"
PARTS = ("weights", "architecture", "selection", "test")

HEAD = """
from archsearch.api.signature import image_signature
from archsearch.tasks import Labelled, Split
import torch
some = Split(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))
"""


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.delitem(sys.modules, "rotations", raising=False)
    return EXAMPLE / "spec.yaml"


def task(module: str, **more: Any) -> Task:
    return Task.model_validate({"custom": {"module": module, **more}})


def test_the_example_splits_by_image_and_learns_which_way_is_up(example: Path) -> None:
    _, spec = read_search(example)
    data, again = load(spec.task, None), load(spec.task, None)
    assert [len(getattr(data, part)) for part in PARTS] == [1200, 1200, 800, 800]
    assert all(torch.equal(getattr(data, part).inputs, getattr(again, part).inputs) for part in PARTS)
    upright = [{bytes(image.numpy()) for image in getattr(data, part).inputs} for part in PARTS]
    assert all(not one & other for at, one in enumerate(upright) for other in upright[at + 1 :])
    assert spec.space is not None
    space = space_of(spec.space)
    torch.manual_seed(0)
    built = network(space, space.sample(np.random.default_rng(5)), stack="final", signature=data.signature)
    training = Trainer(built, data, spec.task.training, epochs=4, seed=0)
    for _ in range(4):
        training.run_epoch(lambda: False)
    assert evaluate(built, data, data.selection)["accuracy"] > 0.6  # a quarter by chance


def test_a_setting_that_is_out_of_range_is_told(example: Path) -> None:
    with pytest.raises(DataError, match=r"settings\.images must be between 40 and 1797, but got 3"):
        load(task("rotations:load", settings={"images": "3"}), None)


@pytest.mark.parametrize(
    ("body", "module", "metrics", "message"),
    [
        ("", "nowhere_to_be_found:load", ["accuracy"], "task.custom.module: nowhere_to_be_found cannot be imported"),
        ("", "own_task:load", ["accuracy"], "task.custom.module: own_task has no load"),
        ("load = 3", "own_task:load", ["accuracy"], "own_task:load must be a function, but is a int"),
        ("def load(a): pass", "own_task:load", ["accuracy"], r"own_task:load fails \(TypeError: load\(\) takes 1"),
        ("def load(*a): return 7", "own_task:load", ["accuracy"], "must return a TaskData, but got a int"),
        ("def load(*a): return Labelled(image_signature((1, 8, 8), 2), some, some, some, some.first(0))",
         "own_task:load", ["accuracy"], "must give examples for every part, but has none for test"),
        ("def load(*a): return Labelled(image_signature((1, 8, 8), 2), some, some, some, some)",
         "own_task:load", ["score"], "task.custom.metrics must begin with accuracy, .* but got score"),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_told(
    body: str, module: str, metrics: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_task.py").write_text(HEAD + body)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_task", raising=False)
    with pytest.raises(DataError, match=message):
        load(task(module, metrics=metrics), None)
