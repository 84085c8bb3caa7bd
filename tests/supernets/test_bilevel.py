"""Bilevel training: the published updates, each group by its own optimiser, and bit-equal after an interruption."""

from __future__ import annotations

import copy
import math
from itertools import count

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from archsearch.api.differentiable import Differentiable
from archsearch.evaluation import Diverged, State
from archsearch.supernets import Bilevel, Recipe
from archsearch.tasks import Split
from archsearch.work.checkpoint import Identity, decode, encode
from tests.supernets.tiny import DIGITS, bilevel, exactly, halves, plainly

both_orders = pytest.mark.parametrize("order", ["First", "Second"])
BATCH, IMAGES, STEPS = 8, 28, 3  # 28 images are 3 full batches of 8
IDENTITY = Identity("team/digits", "digits-abcde-0", "a" * 64)


def settings(order: str, **changes: object) -> Differentiable:
    wanted = {
        "method": "DARTS",
        "order": order,
        "epochs": 2,
        "batch_size": BATCH,
        "architecture_learning_rate": "0.01",
        **changes,
    }
    return Differentiable.model_validate(wanted)


def everything(training: Bilevel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Copies of the network's weights and buffers, and of the architecture weights."""
    network = {name: value.detach().clone() for name, value in training.network.state_dict().items()}
    return network, {name: alpha.detach().clone() for name, alpha in training.alphas.items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def batch(first: int) -> tuple[Split, Split]:
    taken = slice(first, first + BATCH)
    training, architecture = (halves(first + BATCH).prepare(h.at(taken)) for h in (DIGITS.weights, DIGITS.architecture))
    return training, architecture


@both_orders
def test_each_half_of_a_step_moves_its_own_weights_and_no_other(order: str) -> None:
    """To the bit, with momentum in both optimisers; running statistics belong to the network's half."""
    training = bilevel(settings(order))
    for first in (0, BATCH, 2 * BATCH):
        weights, architecture = batch(first)
        network, alphas = everything(training)
        training.step_architecture(weights, architecture)
        network_between, alphas_between = everything(training)
        assert changed(network, network_between) == set()
        assert changed(alphas, alphas_between) == alphas.keys()
        training.step_weights(weights)
        network_after, alphas_after = everything(training)
        assert changed(network_between, network_after) == network.keys()
        assert changed(alphas_between, alphas_after) == set()
        assert all(tensor.grad is None for tensor in (*training.alphas.values(), *training.network.parameters()))


class Published:
    """The loop of the published code, written out: a second network for the unrolled step, `R = 0.01 / |v|`."""

    def __init__(self, training: Bilevel, chosen: Recipe) -> None:
        self.network = copy.deepcopy(training.network)
        self.alphas = {name: alpha.detach().clone().requires_grad_() for name, alpha in training.alphas.items()}
        self.chosen = chosen
        self.sgd = torch.optim.SGD(
            self.network.parameters(), chosen.learning_rate, momentum=chosen.momentum,
            weight_decay=chosen.weight_decay,
        )  # fmt: skip
        self.adam = torch.optim.Adam(
            self.alphas.values(), lr=chosen.architecture_learning_rate, betas=(0.5, 0.999),
            weight_decay=chosen.architecture_weight_decay,
        )  # fmt: skip
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.sgd, chosen.epochs, eta_min=chosen.learning_rate_min
        )

    def loss(self, network: nn.Module, data: Split) -> Tensor:
        mix = {name: torch.softmax(alpha, dim=-1) for name, alpha in self.alphas.items()}
        return functional.cross_entropy(network(data.inputs, mix), data.targets)

    def step(self, train: Split, search: Split) -> None:
        self.adam.zero_grad()
        # Its passes ran on the network itself and moved the running statistics; here they run on a copy.
        if self.chosen.order == "First":
            self.loss(copy.deepcopy(self.network), search).backward()  # type: ignore[no-untyped-call]
        else:
            self._backward_step_unrolled(train, search)
        self.adam.step()
        self.sgd.zero_grad()
        self.loss(self.network, train).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.chosen.gradient_clip)
        self.sgd.step()

    def _backward_step_unrolled(self, train: Split, search: Split) -> None:
        eta = self.sgd.param_groups[0]["lr"]
        unrolled = copy.deepcopy(self.network)
        gradients = torch.autograd.grad(self.loss(unrolled, train), list(unrolled.parameters()))
        with torch.no_grad():
            for theta, own, gradient in zip(unrolled.parameters(), self.network.parameters(), gradients, strict=True):
                moment = self.sgd.state[own].get("momentum_buffer", torch.zeros_like(theta))
                decayed = gradient + self.chosen.weight_decay * theta
                theta.sub_(eta * (self.chosen.momentum * moment + decayed))
        alphas = list(self.alphas.values())
        vector = torch.autograd.grad(self.loss(unrolled, search), [*alphas, *unrolled.parameters()])
        dalpha, vector = vector[: len(alphas)], vector[len(alphas) :]
        r = 0.01 / torch.cat([v.reshape(-1) for v in vector]).norm()
        sides = []
        for sign in (1, -1):
            moved = copy.deepcopy(self.network)
            with torch.no_grad():
                for p, v in zip(moved.parameters(), vector, strict=True):
                    p.add_(sign * r * v)
            sides.append(torch.autograd.grad(self.loss(moved, train), alphas))
        for alpha, direct, plus, minus in zip(alphas, dalpha, *sides, strict=True):
            alpha.grad = direct - eta * (plus - minus) / (2 * r)


@both_orders
def test_the_updates_are_those_of_the_published_loop(order: str) -> None:
    """Over two epochs in float64: both optimisers, the cosine, the clipping, and which half trains what."""
    chosen, taken = settings(order, gradient_clip="0.5"), []  # a clip that binds

    def recording(images: Tensor) -> Tensor:
        taken.append(images)
        return exactly(images)

    training = bilevel(chosen, images=IMAGES, dtype=torch.float64, prepare=recording)
    published = Published(training, Recipe.of(chosen))
    assert training.steps == STEPS
    for epoch in range(chosen.epochs):
        taken.clear()
        report = training.run_epoch(lambda: False)
        assert report is not None
        for train, search in zip(_labelled(taken[::2], "weights"), _labelled(taken[1::2], "architecture"), strict=True):
            published.step(train, search)
        published.schedule.step()
        assert report.epoch == epoch + 1
    network, alphas = everything(training)
    for name, value in published.network.state_dict().items():
        torch.testing.assert_close(network[name], value, rtol=0, atol=1e-10)
    for name, value in published.alphas.items():
        torch.testing.assert_close(alphas[name], value.detach(), rtol=0, atol=1e-10)


def _labelled(batches: list[Tensor], half: str) -> list[Split]:
    """The batches with their labels, looked up in the half that they must come from; no image twice."""
    split = getattr(DIGITS, half).first(IMAGES)
    rows = [[_row(image, split.inputs) for image in images] for images in batches]
    flat = [row for rows_of_batch in rows for row in rows_of_batch]
    assert len(set(flat)) == len(flat) == STEPS * BATCH
    return [Split(exactly(split.inputs[row]), split.targets[row]) for row in rows]


def _row(image: Tensor, images: Tensor) -> int:
    (row,) = (images == image).flatten(1).all(1).nonzero().flatten().tolist()
    return int(row)


@both_orders
@pytest.mark.parametrize("steps", [1, STEPS, STEPS + 2])
@pytest.mark.parametrize("kept", ["in memory", "in a checkpoint"])
def test_a_search_that_is_stopped_between_two_steps_goes_on_bit_equal(order: str, steps: int, kept: str) -> None:
    undisturbed, stopped = bilevel(settings(order)), bilevel(settings(order))
    expected = [undisturbed.run_epoch(lambda: False) for _ in range(2)]
    asked = count()
    reports = []
    while (report := stopped.run_epoch(lambda: next(asked) >= steps)) is not None:
        reports.append(report)
    assert stopped.epoch * STEPS + stopped.step == steps
    state = _copied(stopped.state())
    if kept == "in a checkpoint":
        state = decode(encode(state, IDENTITY), IDENTITY)
    resumed = bilevel(settings(order))
    for parameter in resumed.network.parameters():
        nn.init.constant_(parameter, 7)  # nothing of what it was made with may remain
    resumed.load(state)
    while resumed.epoch < 2:
        report = resumed.run_epoch(lambda: False)
        assert report is not None
        reports.append(report)
    assert reports == expected
    (tensors, place), (others, other_place) = resumed.state(), undisturbed.state()
    assert place == other_place
    assert changed(tensors, others) == set()


def _copied(state: State) -> State:
    return {name: tensor.detach().clone() for name, tensor in state[0].items()}, dict(state[1])


def test_another_seed_gives_another_search() -> None:
    one, other = (everything(bilevel(settings("First"), seed=seed)) for seed in (3, 4))
    assert changed(one[1], other[1]) == one[1].keys()


FOREIGN = {
    "another space": ("place", "space", "0" * 12, "space must be"),
    "another order": ("place", "order", "First", "order must be Second as in this search, but got First"),
    "more epochs": ("place", "epochs", 9, "epochs must be 2 as in this search, but got 9"),
    "another seed": ("place", "seed", 4, "seed must be 3 as in this search, but got 4"),
    "a step beyond the epoch": ("place", "step", STEPS, "step must be below the 3 of an epoch, but got 3"),
    "a place that is no number": ("place", "epoch", "one", "step must be below"),
    "no architecture weights": ("tensor", "alpha/normal/0/0", None, "the state must hold alpha/normal/0/0"),
    "more operations": ("tensor", "alpha/normal/0/0", torch.zeros(7), r"alpha/normal/0/0 must have the shape \(5,\)"),
    "no network weights": ("tensor", "network/stem.0.weight", None, "the weights must hold stem.0.weight"),
    "wider": ("tensor", "network/stem.0.weight", torch.zeros(9, 1, 3, 3), "stem.0.weight must be .*9, 1, 3, 3"),
    "no momentum": ("tensor", "sgd/momentum_buffer/stem.0.weight", None, "must hold sgd/momentum_buffer/stem.0.weight"),
    "no averages": ("tensor", "adam/exp_avg_sq/normal/0/1", None, "must hold adam/exp_avg_sq/normal/0/1"),
    "no sum of losses": ("tensor", "loss", None, "must hold loss"),
}


@pytest.fixture(scope="module")
def midway() -> State:
    training = bilevel(settings("Second"))
    asked = count()
    assert training.run_epoch(lambda: next(asked) >= 1) is None
    return _copied(training.state())


@pytest.mark.parametrize(("where", "name", "value", "message"), FOREIGN.values(), ids=FOREIGN.keys())
def test_a_state_that_does_not_fit_is_refused_by_name(
    midway: State, where: str, name: str, value: object, message: str
) -> None:
    tensors, place = _copied(midway)
    if where == "place":
        assert name in place
        place[name] = value  # type: ignore[assignment]
    elif isinstance(value, Tensor):
        tensors[name] = value
    else:
        del tensors[name]
    with pytest.raises(ValueError, match=message):
        bilevel(settings("Second")).load((tensors, place))


@both_orders
def test_a_loss_that_is_no_number_ends_the_search_and_says_what_to_lower(order: str) -> None:
    def poisoned(images: Tensor) -> Tensor:
        return plainly(images) * math.inf

    training = bilevel(settings(order), prepare=poisoned)
    with pytest.raises(
        Diverged, match=r"loss of epoch 1 is nan; lower algorithm\.differentiable\.learningRate \(0\.025\)"
    ):
        training.run_epoch(lambda: False)


@both_orders
def test_the_loss_falls_on_digits(order: str) -> None:
    training = bilevel(settings(order, epochs=4, batch_size=32, learning_rate="0.1"), images=320)
    reports = [training.run_epoch(lambda: False) for _ in range(4)]
    assert all(report is not None for report in reports)
    first, last = reports[0], reports[-1]
    assert first is not None
    assert last is not None
    assert last.loss < 0.7 * first.loss
    assert last.values["accuracy"] > first.values["accuracy"] + 0.15
    assert last.entropy < first.entropy < math.log(5)


def test_the_learning_rate_falls_by_a_cosine_from_the_first_to_the_last_value() -> None:
    training = bilevel(settings("First", epochs=4))
    rates = [training.learning_rate(epoch) for epoch in range(5)]
    assert rates == pytest.approx([0.025, 0.001 + 0.012 * (1 + math.sqrt(0.5)), 0.013,
                                   0.001 + 0.012 * (1 - math.sqrt(0.5)), 0.001], abs=1e-15)  # fmt: skip


def test_a_half_with_fewer_images_than_the_steps_need_starts_again() -> None:
    """Both halves feed every step, whatever their sizes; a batch is never larger than the smaller half."""
    taken: list[int] = []

    def recording(images: Tensor) -> Tensor:
        taken.append(len(images))
        return plainly(images)

    whole = bilevel(settings("First"), prepare=recording)
    small = Bilevel(
        whole._space, whole.network, halves(24, recording, 5), Recipe.of(settings("First")), seed=0
    )  # fmt: skip
    assert small.steps == 4
    assert small.run_epoch(lambda: False) is not None
    assert taken == [5] * 8
