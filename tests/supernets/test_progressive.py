"""P-DARTS: which operations are dropped, how deep the supernets are, and what the stages know of each other."""

from __future__ import annotations

import itertools

import pytest
import torch

from archsearch.api.differentiable import Differentiable
from archsearch.networks import Mixture
from archsearch.spaces import Choice, Space
from archsearch.supernets.progressive import Progressive, reduced, strongest
from tests.supernets.methods import NB201, finish
from tests.supernets.tiny import SPACE, search

CHOICE = Choice("edge", ("a", "b", "c", "d"), extra=("none",))
WEIGHTS = torch.tensor([0.1, 0.3, 0.15, 0.05, 0.4])


@pytest.mark.parametrize(
    ("count", "kept"),
    [
        (5, ("a", "b", "c", "d", "none")),
        (4, ("a", "b", "c", "none")),
        (3, ("b", "c", "none")),
        (2, ("b", "none")),
        (1, ("b",)),  # `none` is the strongest, but an architecture cannot hold it
        (0, ("b",)),
    ],
)
def test_exactly_the_weakest_are_dropped_and_one_can_always_be_chosen(count: int, kept: tuple[str, ...]) -> None:
    assert strongest(CHOICE, CHOICE.alternatives, WEIGHTS, count) == kept


def test_what_is_dropped_stays_dropped() -> None:
    left = ("a", "d", "none")
    assert strongest(CHOICE, left, torch.tensor([0.2, 0.5, 0.3]), 2) == ("d", "none")
    assert strongest(CHOICE, left, torch.tensor([0.2, 0.5, 0.3]), 5) == left


def test_it_is_so_for_every_order_of_the_weights() -> None:
    for order in itertools.permutations(range(5)):
        weights = torch.tensor([0.1, 0.15, 0.2, 0.25, 0.3])[list(order)]
        kept = strongest(CHOICE, CHOICE.alternatives, weights, 3)
        by_weight = sorted(zip(weights.tolist(), CHOICE.alternatives, strict=True), reverse=True)
        assert set(kept) == {name for _, name in by_weight[:3]}
        assert list(kept) == [name for name in CHOICE.alternatives if name in kept]


SETTINGS = Differentiable.model_validate(
    {"method": "PDARTS", "epochs": 4, "batch_size": 8, "warmup_percent": 0, "architecture_learning_rate": "0.05"}
)


def mixtures(training: Progressive) -> dict[str, list[str]]:
    return {module.name: list(module) for module in training.network.modules() if isinstance(module, Mixture)}


def test_the_stages_grow_in_depth_and_shrink_in_operations() -> None:
    """4 epochs are 2, 1 and 1; 3 cells are 3, 7 and 10; of 5 operations 5, 3 and 2 are left."""
    training = search(SETTINGS, images=16)
    assert isinstance(training, Progressive)
    seen = []
    while training.epoch < training.epochs:
        training.run_epoch(lambda: False)
        mixed = mixtures(training)
        seen.append((len(list(training.network.cells)), {len(names) for names in mixed.values()}))  # type: ignore[arg-type]
    assert seen == [(3, {5}), (3, {5}), (7, {3}), (10, {2})]
    architecture = training.architecture()
    assert SPACE.architecture(architecture.values) == architecture
    for name, value in architecture.values.items():
        assert isinstance(value, tuple) or value in mixtures(training)[name]


def test_between_stages_the_operations_with_the_smallest_probabilities_go() -> None:
    training = search(SETTINGS, images=16)
    assert isinstance(training, Progressive)
    for _ in range(2):
        training.run_epoch(lambda: False)
    probabilities = {name: p.tolist() for name, p in training._current.probabilities().items()}
    training.run_epoch(lambda: False)
    alternatives = {c.name: c.alternatives for c in SPACE.choices if not c.is_subset}
    for name, names in mixtures(training).items():
        by_weight = sorted(zip(probabilities[name], alternatives[name], strict=True), reverse=True)
        assert set(names) == {own for _, own in by_weight[:3]}


def test_every_stage_starts_with_new_weights_of_its_own() -> None:
    training = search(SETTINGS, space=NB201, images=16)
    assert isinstance(training, Progressive)
    first = training.network
    stems, alphas = [], []
    while training.epoch < training.epochs:
        training.run_epoch(lambda: False)
        if training._current.epoch == 1:
            stems.append(training.network.state_dict()["stem.0.weight"])
            alphas.append(training._current.alphas["cell/1/0"].detach())
    assert len(stems) == 3
    assert training.network is not first
    assert not torch.equal(stems[1], stems[2])
    assert [len(alpha) for alpha in alphas] == [5, 3, 2]


def test_a_space_without_a_choice_that_nothing_opens_any_more() -> None:
    choices = (
        Choice("block", ("skip", "mobile")),
        Choice("kernel", (3, 5), when=(("block", "mobile"),)),
        Choice("head", (1, 2)),
    )
    space = Space("chain", choices, NB201.settings)
    small = reduced(space, {"block": ("skip",), "kernel": (3, 5), "head": (2,)}, 100)
    assert [(choice.name, choice.options) for choice in small.choices] == [("block", ("skip",)), ("head", (2,))]
    assert small.settings == space.settings


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("stage", 3, "stage must be one of 3, but got 3"),
        ("stage", None, "stage must be one of 3, but got None"),
        ("kept", {"normal/0/0": ["none"]}, "kept must name every choice of operations"),
        ("training", None, "kept must name every choice of operations, and training a place"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(name: str, value: object, said: str) -> None:
    training = search(SETTINGS, images=16)
    tensors, place = training.state()
    with pytest.raises(ValueError, match=said):
        search(SETTINGS, images=16).load((tensors, {**place, name: value}))  # type: ignore[dict-item]


def test_a_cell_ends_with_two_skips_at_most() -> None:
    training = search(SETTINGS, space=NB201, images=16)
    finish(training)
    assert isinstance(training, Progressive)
    with torch.no_grad():
        for name, alpha in training._current.alphas.items():
            options = training._kept[name]
            if "skip_connect" in options:
                alpha[options.index("skip_connect")] += 10
    skips = [name for name, value in training.architecture().values.items() if value == "skip_connect"]
    assert len(skips) <= 2
