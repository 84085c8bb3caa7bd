"""DARTS-PT: what is decided when, by which evidence, and that what is useful is found whatever the mixing weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from archsearch.api.differentiable import Differentiable
from archsearch.networks import Mix, Mixture, SpaceNetwork
from archsearch.spaces import Space
from archsearch.supernets import Bilevel, Recipe
from archsearch.supernets.projection import Judge, Projection, rounds
from archsearch.supernets.shared import worth
from tests.supernets.methods import NB201, finish
from tests.supernets.tiny import DIGITS, SPACE, halves, network, search

SETTINGS = Differentiable.model_validate({"method": "DARTSPT", "epochs": 1, "batch_size": 8, "finetune_epochs": 1})


def projection(judge: Judge, space: Space = SPACE, settings: Differentiable = SETTINGS, images: int = 16) -> Projection:
    def train(shared: SpaceNetwork, recipe: Recipe, seed: int) -> Bilevel:
        return Bilevel(space, shared, halves(images), recipe, seed=seed)

    return Projection(space, train(network(space), Recipe.of(settings), 0), train, judge, seed=0)


def test_a_round_decides_one_choice_of_every_cell_and_inputs_come_last() -> None:
    """5 edges and, as node 0 has no choice, one pair of inputs in each of two cells."""
    found = rounds(SPACE, torch.Generator().manual_seed(0))
    assert [len(decided) for decided in found] == [2] * 6
    assert all({c.name.split("/")[0] for c in decided} == {"normal", "reduction"} for decided in found)
    assert [all(c.is_subset for c in decided) for decided in found] == [False] * 5 + [True]
    names = [choice.name for decided in found for choice in decided]
    assert set(names) == {c.name for c in SPACE.choices if len(c.options) > 1}
    assert len(names) == len(set(names))
    other = rounds(SPACE, torch.Generator().manual_seed(1))
    assert [c.name for d in other for c in d] != names
    assert [len(decided) for decided in rounds(NB201, torch.Generator())] == [1] * 6


def test_the_operation_whose_removal_hurts_most_stays_however_small_its_weight() -> None:
    """The judge sees a supernet that needs the third operation of every edge, and inputs 1 and 2 of every node."""
    useful = {choice.name: choice.options[2] for choice in SPACE.choices if not choice.is_subset}
    places = {choice.name: 2 for choice in SPACE.choices if not choice.is_subset}

    def judge(_: SpaceNetwork, mix: Mix) -> tuple[float, ...]:
        worth = 0.0
        for name in useful:
            value = mix[name]
            if isinstance(value, Tensor):
                worth -= float(value[places[name]] == 0)
            else:
                worth -= value != useful[name]
        for cell in ("normal", "reduction"):
            kept = mix.get(f"{cell}/1/inputs")
            worth -= kept is not None and kept != (1, 2)
        return (worth,)

    training = projection(judge)
    with torch.no_grad():
        for alpha in training._search.alphas.values():
            alpha[2] -= 3  # the weakest by far
    finish(training)
    architecture = training.architecture()
    assert {name: value for name, value in architecture.values.items() if isinstance(value, str)} == {
        name: useful[name] for name in architecture.values if name in useful
    }
    assert architecture["normal/1/inputs"] == architecture["reduction/1/inputs"] == (1, 2)


def test_only_what_is_tried_is_taken_away_and_the_rest_keeps_its_weight() -> None:
    seen: list[Mix] = []

    def judge(_: SpaceNetwork, mix: Mix) -> tuple[float, ...]:
        seen.append(dict(mix))
        return (0.0,)

    training = projection(judge, NB201)
    training.run_epoch(lambda: False)
    probabilities = training._search.probabilities()
    assert len(seen) == 5
    (decided,) = training._current.decided
    for place, mix in enumerate(seen):
        for name, value in mix.items():
            assert isinstance(value, Tensor)
            expected = probabilities[name].detach().clone()
            if name == decided:
                expected[place] = 0
            assert torch.equal(value.detach(), expected)


def test_decisions_are_made_after_the_search_and_then_after_every_tuning() -> None:
    """NB201: six rounds, so the search's 2 epochs and five times 2."""
    settings = Differentiable.model_validate(
        {**SETTINGS.model_dump(exclude_none=True), "epochs": 2, "finetune_epochs": 2}
    )
    training = projection(lambda _network, _mix: (0.0,), NB201, settings)
    assert training.epochs == 2 + 5 * 2
    counts = []
    while training.epoch < training.epochs:
        training.run_epoch(lambda: False)
        counts.append(len(training._current.decided))
    assert counts == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]


def test_tuning_goes_on_with_the_same_weights_at_a_tenth_of_the_rate() -> None:
    training = projection(lambda _network, _mix: (0.0,), NB201)
    training.run_epoch(lambda: False)
    search_, tuning = training._search, training._current
    assert tuning is not search_
    assert tuning.network is search_.network
    assert all(torch.equal(alpha, search_.alphas[name]) for name, alpha in tuning.alphas.items())
    assert tuning.learning_rate(0) == pytest.approx(search_.learning_rate(0) / 10)
    assert tuning.epochs == 5


def test_judging_moves_no_weight_and_no_statistic() -> None:
    training = projection(lambda shared, mix: worth(shared, mix, DIGITS, DIGITS.selection.first(32)), NB201)
    training.run_epoch(lambda: False)
    before = {name: value.clone() for name, value in training.network.state_dict().items()}
    training._best(NB201.choices[0])
    assert all(torch.equal(value, before[name]) for name, value in training.network.state_dict().items())
    assert all(weight.grad is None for weight in training.network.parameters())


def test_on_a_trained_supernet_the_useful_operation_is_found_although_softmax_prefers_another() -> None:
    """Digits: after some training nothing but the 3x3 convolution of one edge carries anything to a cell's output."""
    name, useful = "cell/3/0", "nor_conv_3x3"
    settings = Differentiable.model_validate(
        {"method": "DARTSPT", "epochs": 8, "batch_size": 16, "learning_rate": "0.1", "finetune_epochs": 1}
    )
    training = projection(
        lambda shared, mix: worth(shared, mix, DIGITS, DIGITS.selection.first(128)), NB201, settings, images=128
    )
    for _ in range(5):
        training._search.run_epoch(lambda: False)
    for mixture in (module for module in training.network.modules() if isinstance(module, Mixture)):
        for key, operation in mixture.items():
            if mixture.name.startswith("cell/3/") and (mixture.name, key) != (name, useful):
                operation.register_forward_hook(lambda _module, _inputs, output: output * 0)
    with torch.no_grad():
        training._search.alphas[name][1] += 2
    assert training._search.architecture()[name] == "skip_connect"
    assert training._best(next(choice for choice in NB201.choices if choice.name == name)) == useful


def test_the_whole_search_ends_with_every_choice_decided() -> None:
    training = search(SETTINGS, images=16)
    assert isinstance(training, Projection)
    assert training.epochs == 1 + 5
    finish(training)
    decided = training._current.decided
    assert set(decided) == {c.name for c in SPACE.choices if len(c.options) > 1}
    architecture = training.architecture()
    assert all(architecture[name] == value for name, value in decided.items() if name in architecture.values)
    assert training.candidates() == (architecture,)


@pytest.mark.parametrize(("name", "value"), [("tuning", None), ("tuning", 1), ("training", None)])
def test_a_state_that_does_not_fit_is_refused(name: str, value: object) -> None:
    training = search(SETTINGS, images=16)
    tensors, place = training.state()
    with pytest.raises(ValueError, match="tuning must be true or false and training a place"):
        search(SETTINGS, images=16).load((tensors, {**place, name: value}))  # type: ignore[dict-item]
