"""An adversarial step moves embeddings as far as asked and to where the loss is larger; training stays resumable."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from question_data import task, write
from torch import Tensor, nn

from archsearch.api import Space as SpaceSpec
from archsearch.api.questions import Adversarial
from archsearch.api.task import Training
from archsearch.evaluation import Trainer, evaluate
from archsearch.evaluation.adversarial import MOVED, AdversarialPasses, passes_of
from archsearch.networks import network
from archsearch.networks.fusion import FusedNetwork
from archsearch.spaces import space_of
from archsearch.tasks import QuestionData, load

SPACE = space_of(SpaceSpec.model_validate({"fusionNetwork": {"imageLayers": 2, "nodes": 2}}))
ARCHITECTURE = SPACE.architecture(
    {"0/image": 0, "0/question": 1, "0/operator": "film", "1/image": 1, "1/question": 0, "1/operator": "concat_fc"}
)
RECIPE = {"optimizer": "AdamW", "learningRate": "0.01", "batchSize": 16}
moved = pytest.mark.parametrize("name", MOVED)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> QuestionData:
    folder = tmp_path_factory.mktemp("adversarial")
    write(folder / "small")
    return load(task(), folder)


def built(data: QuestionData, seed: int = 0) -> FusedNetwork:
    torch.manual_seed(seed)
    made = network(SPACE, ARCHITECTURE, stack="search", signature=data.signature)
    assert isinstance(made, FusedNetwork)
    return made


def recipe(**adversarial: Any) -> Training:
    own = {"adversarial": adversarial} if adversarial else {}
    return task(training=RECIPE | own).training


def trainer(data: QuestionData, *, seed: int = 3, epochs: int = 2, **adversarial: Any) -> Trainer:
    made, training = built(data, seed), recipe(**adversarial)
    return Trainer(made, data, training, epochs=epochs, seed=3, passes=passes_of(made, data, training))


def run(training: Trainer) -> list[float]:
    reports = []
    while training.epoch < training.epochs:
        report = training.run_epoch(lambda: False)
        assert report is not None
        reports.append(report.loss)
    return reports


def norms(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


@moved
@pytest.mark.parametrize(
    ("steps", "step", "radius", "expected"),
    [(1, "0.05", "0.05", 0.05), (1, "0.02", "0.05", 0.02), (1, "0.9", "0.05", 0.05), (4, "0.04", "0.07", 0.07)],
)
def test_an_embedding_is_moved_by_the_share_of_its_norm_that_is_asked(
    data: QuestionData, name: str, steps: int, step: str, radius: str, expected: float
) -> None:
    batch = data.prepare(data.weights.first(12))
    made = built(data)
    embedded = made.embed(batch.inputs)
    passes = AdversarialPasses(made, data, Adversarial(steps=steps, step_size=step, radius=radius))
    move = passes.move(embedded, name, batch.targets)
    shares = norms(move) / norms(getattr(embedded, name))
    assert move.shape == getattr(embedded, name).shape
    assert not move.requires_grad
    if steps == 1:
        torch.testing.assert_close(shares, torch.full((12,), expected))
    else:
        assert (shares <= expected * (1 + 1e-5)).all()
        assert (shares > expected * 0.9).all()


@moved
def test_a_move_raises_the_loss_of_the_same_weights_more_than_chance_does(data: QuestionData, name: str) -> None:
    made = built(data)
    batch = data.prepare(data.weights.first(24))
    embedded = made.embed(batch.inputs)
    passes = AdversarialPasses(made, data, Adversarial(steps=1, step_size="0.03", radius="0.03"))

    def loss(move: Tensor) -> float:
        changed = replace(embedded, **{name: getattr(embedded, name) + move})
        return float(data.loss(made.answer(changed), batch.targets).detach())

    move = passes.move(embedded, name, batch.targets)
    noise = torch.randn(move.shape, generator=torch.Generator().manual_seed(0))
    noise *= (norms(move) / norms(noise)).view(-1, *(1,) * (noise.dim() - 1))
    assert loss(move) > loss(torch.zeros_like(move)) > loss(-move)
    assert loss(move) > loss(noise)
    more = replace(passes, settings=Adversarial(steps=4, step_size="0.03", radius="0.12"))
    assert loss(more.move(embedded, name, batch.targets)) > loss(move)


def test_what_fills_a_question_up_is_not_moved(data: QuestionData) -> None:
    made = built(data)
    batch = data.prepare(data.weights.first(12))
    embedded = made.embed(batch.inputs)
    move = AdversarialPasses(made, data, Adversarial()).move(embedded, "words", batch.targets)
    assert (batch.inputs[1] == 0).any()
    assert torch.equal(move * (1 - embedded.mask), torch.zeros_like(move))


def test_a_step_learns_from_the_batch_and_from_what_was_moved(data: QuestionData) -> None:
    made, settings = built(data), Adversarial()
    batch = data.prepare(data.weights.first(12))
    statistics = [part.running_mean.clone() for part in made.modules() if isinstance(part, nn.BatchNorm2d)]
    made(batch.inputs)
    once = [part.running_mean.clone() for part in made.modules() if isinstance(part, nn.BatchNorm2d)]
    made = built(data)
    passes = AdversarialPasses(made, data, settings)
    loss, outputs = passes(batch, (0, 0))
    after = [part.running_mean for part in made.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(torch.equal(one, other) for one, other in zip(once, after, strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(once, statistics, strict=True))
    found = {name: weight.grad.clone() for name, weight in made.named_parameters() if weight.grad is not None}

    made = built(data)
    embedded = made.embed(batch.inputs)
    own = replace(passes, network=made)
    moves = {name: own.move(embedded, name, batch.targets) for name in MOVED}
    plain = data.loss(made.answer(embedded), batch.targets)
    worse = [
        data.loss(made.answer(replace(embedded, **{name: getattr(embedded, name) + move})), batch.targets)
        for name, move in moves.items()
    ]
    (plain / 2 + sum(worse) / 4).backward()
    torch.testing.assert_close(loss, plain.detach())
    assert not loss.requires_grad
    assert not outputs.requires_grad
    for name, weight in made.named_parameters():
        torch.testing.assert_close(found[name], weight.grad)


@pytest.mark.parametrize("stop_after", [1, 4, 6])
def test_a_resumed_training_is_bit_equal(data: QuestionData, stop_after: int) -> None:
    settings = {"steps": 2, "stepSize": "0.02", "radius": "0.03"}
    whole = trainer(data, **settings)
    reports = run(whole)
    first, steps = trainer(data, **settings), itertools.count()
    assert whole.steps == 4
    before = []
    while (report := first.run_epoch(lambda: next(steps) == stop_after)) is not None:
        before.append(report.loss)
    tensors, place = first.state()
    saved = {name: tensor.detach().clone() for name, tensor in tensors.items()}, dict(place)
    second = trainer(data, seed=99, **settings)
    torch.rand(5)
    second.load(saved)
    assert before + run(second) == reports
    one, other = second.state()[0], whole.state()[0]
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("adversarial", [{}, {"steps": 1}], ids=["plain", "adversarial"])
def test_training_lowers_the_loss(data: QuestionData, adversarial: dict[str, Any]) -> None:
    training = trainer(data, epochs=6, **adversarial)
    start = evaluate(training.network, data, data.training)["loss"]
    run(training)
    end = evaluate(training.network, data, data.training)
    assert end["loss"] < 0.5 * start
    assert end["accuracy"] > 0.8


def test_the_step_is_taken_only_where_it_is_asked_for_and_there_are_embeddings(data: QuestionData) -> None:
    assert passes_of(built(data), data, recipe()) is None
    assert passes_of(built(data), data, Training()) is None
    assert isinstance(passes_of(built(data), data, recipe(steps=3)), AdversarialPasses)
    with pytest.raises(TypeError, match=r"must have embeddings for training\.adversarial, but Linear has not"):
        passes_of(nn.Linear(2, 2), data, recipe(steps=3))
