"""Every task with every space that its networks can be of: shapes, learning, resuming and exporting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import DATA, SPACES, small_data, small_space

from archsearch.api.task import TASKS, Training
from archsearch.evaluation import Trainer, evaluate
from archsearch.hardware import Deployed, export_onnx
from archsearch.networks import SpaceNetwork, network, supernet
from archsearch.networks.inputs import tensors
from archsearch.spaces import Space
from archsearch.tasks import TaskData

PAIRS = [(task, space) for task, settings in TASKS.items() for space in settings.spaces if space != "custom"]
every_pair = pytest.mark.parametrize(("task", "space_name"), PAIRS)
every_task = pytest.mark.parametrize("task", TASKS)
FEW = 24
PARTS = ("weights", "architecture", "selection", "test")


@pytest.fixture(scope="module")
def data_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TaskData]:
    """A few examples of every task."""
    found = {}
    for task in TASKS:
        data = small_data(task, tmp_path_factory.mktemp(task))
        found[task] = replace(data, **{part: getattr(data, part).first(FEW) for part in PARTS})
    return found


def fixed(space: Space, data: TaskData, seed: int = 1) -> SpaceNetwork:
    torch.manual_seed(seed)
    return network(space, space.sample(np.random.default_rng(seed)), stack="final", signature=data.signature)


def test_every_task_and_every_space_has_its_smallest() -> None:
    assert DATA.keys() == TASKS.keys()
    assert {space for _, space in PAIRS} == SPACES.keys()


@every_pair
def test_outputs_have_the_shape_that_the_signature_says(
    task: str, space_name: str, data_of: dict[str, TaskData]
) -> None:
    data, space = data_of[task], small_space(space_name)
    batch = data.prepare(data.weights.first(6))
    outputs = fixed(space, data)(batch.inputs)
    last = tensors(batch.inputs)[-1].shape
    wanted = {
        "Classes": (6, data.classes),
        "Map": (6, data.classes, *last[2:]),
        "Tokens": (6, data.classes, *last[1:]),
        "Boxes": (6, outputs.shape[1], 4 + data.classes),
    }
    assert tuple(outputs.shape) == wanted[data.signature.outputs]
    path = space.sample(np.random.default_rng(2))
    shared = supernet(space, signature=data.signature)
    assert shared(batch.inputs, path.values).shape[::2] == outputs.shape[::2]


@every_pair
def test_a_few_steps_lower_the_loss(task: str, space_name: str, data_of: dict[str, TaskData]) -> None:
    data = data_of[task]
    built, batch = fixed(small_space(space_name), data), data.prepare(data.weights)
    optimiser, losses = torch.optim.Adam(built.parameters(), 0.003), []
    for _ in range(8):
        torch.manual_seed(0)  # what is random in a network stays the same
        loss = data.loss(built(batch.inputs), batch.targets)
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert losses[-1] < losses[0]
    assert all(np.isfinite(losses))


@every_pair
def test_a_training_that_is_resumed_is_bit_equal(task: str, space_name: str, data_of: dict[str, TaskData]) -> None:
    data, space = data_of[task], small_space(space_name)
    optimizer = "AdamW" if TASKS[task].metrics[0] == "bleu" else "SGD"
    recipe = Training.model_validate({"batchSize": 8, "learningRate": "0.01", "optimizer": optimizer})

    def training() -> Trainer:
        return Trainer(fixed(space, data), data, recipe, epochs=2, seed=3)

    whole, first, again = training(), training(), training()
    reports = [whole.run_epoch(lambda: False) for _ in range(2)]
    steps = iter([False, False, True])
    assert first.run_epoch(lambda: next(steps)) is None
    saved, place = first.state()
    again.load(({name: value.clone() for name, value in saved.items()}, place))
    assert [again.run_epoch(lambda: False) for _ in range(2)] == reports
    ours, theirs = whole.state()[0], again.state()[0]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@every_pair
def test_the_exported_model_answers_as_pytorch_does(
    task: str, space_name: str, data_of: dict[str, TaskData], tmp_path: Path
) -> None:
    data = data_of[task]
    built = fixed(small_space(space_name), data)
    for _ in range(4):
        built(data.prepare(data.weights).inputs)  # so that normalisations have seen data
    difference = export_onnx(Deployed(built, data.signature), tmp_path / "model.onnx", data.raw(data.selection))
    assert difference < 1e-4


@every_task
def test_the_parts_share_no_example_and_are_the_same_every_time(
    task: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = [tmp_path_factory.mktemp(f"{task}{number}") for number in range(2)]
    first, second = (small_data(task, folder) for folder in folders)
    for part in PARTS:
        ours, theirs = getattr(first, part), getattr(second, part)
        assert torch.equal(ours.targets, theirs.targets)
        assert all(torch.equal(a, b) for a, b in zip(tensors(ours.inputs), tensors(theirs.inputs), strict=True))


@every_task
def test_what_is_measured_is_what_the_task_declares(task: str, data_of: dict[str, TaskData]) -> None:
    data, settings = data_of[task], TASKS[task]
    assert (data.name, data.metric) == (task, settings.metrics[0])
    found = evaluate(fixed(small_space(settings.spaces[0]), data), data, data.selection)
    assert found.keys() == set(settings.metrics)
    assert all(np.isfinite(value) for value in found.values())


@every_task
def test_random_changes_follow_from_the_generator_and_keep_shapes(task: str, data_of: dict[str, TaskData]) -> None:
    data = data_of[task]
    plain = data.prepare(data.weights)
    one, same, other = (data.prepare(data.weights, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(tensors(one.inputs), tensors(same.inputs), strict=True))
    assert [a.shape for a in tensors(one.inputs)] == [a.shape for a in tensors(plain.inputs)]
    assert one.targets.shape == other.targets.shape == plain.targets.shape
