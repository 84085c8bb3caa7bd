"""Policy gradients: the gradients, whom they credit, what they learn, and what is remembered."""

from __future__ import annotations

import statistics
from functools import cache

import numpy as np
import pytest
from objectives import CONDITIONAL, DARTS, NB201, TINY, arbitrary, judged, search, smooth
from test_evolution import measured, standard_errors

from archsearch.searchers import Proposal, Random, Result
from archsearch.searchers.controllers import Controller, Matrix, Recurrent, Softmaxes, Walk
from archsearch.searchers.policy import CLIP, Adam, PolicyGradient, ascent
from archsearch.spaces import Space
from archsearch.spaces.nasbench201 import to_string

VARIANTS = [(controller, update) for controller in ("Softmax", "LSTM") for update in ("REINFORCE", "PPO")]
every_variant = pytest.mark.parametrize(("controller", "update"), VARIANTS)


def make(space: Space, seed: int, controller: str, update: str, **settings: float) -> PolicyGradient:
    return PolicyGradient(space, seed, controller, update, units=16, **settings)  # type: ignore[arg-type]


def clipped_objective(walk: Walk, advantage: float, before: Matrix, entropy_weight: float) -> float:
    """Schulman et al. (2017), equation 7, and the entropies, written down as published."""
    total = 0.0
    for decision, then in zip(walk.decisions, before, strict=True):
        ratio = np.exp(decision.log_probabilities[decision.index] - then)
        total += min(ratio * advantage, float(np.clip(ratio, 1 - CLIP, 1 + CLIP)) * advantage)
        total -= entropy_weight * float(np.exp(decision.log_probabilities) @ decision.log_probabilities)
    return total


@pytest.mark.parametrize("space", [NB201, CONDITIONAL, DARTS], ids=["nasbench201", "conditional", "darts"])
@pytest.mark.parametrize("kind", [Softmaxes, lambda space: Recurrent(space, 7)], ids=["softmax", "lstm"])
@pytest.mark.parametrize("advantage", [1.3, -0.8])
@pytest.mark.parametrize("moved", [0.0, 0.5], ids=["at the start", "later"])
def test_gradients_by_hand_equal_finite_differences(space: Space, kind, advantage: float, moved: float) -> None:
    rng = np.random.default_rng(3)
    controller: Controller = kind(space)
    parameters = {name: rng.normal(0, 0.6, value.shape) for name, value in controller.initial(rng).items()}
    architecture = controller.draw(parameters, rng).architecture
    walk = controller.of(parameters, architecture)
    # With differences like these some decisions are clipped, and some are not.
    before = walk.taken + rng.normal(0, moved, len(walk.decisions))
    found = controller.gradient(parameters, walk, ascent(walk, advantage, before, 0.2))
    step = 1e-5
    for name, value in parameters.items():
        places = rng.choice(value.size, size=min(value.size, 150), replace=False)
        for place in (*places, int(np.abs(found[name]).argmax())):
            at = np.unravel_index(place, value.shape)
            sides = []
            for sign in (1, -1):
                shifted = {other: array.copy() for other, array in parameters.items()}
                shifted[name][at] += sign * step
                sides.append(clipped_objective(controller.of(shifted, architecture), advantage, before, 0.2))
            assert found[name][at] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-5, abs=1e-8)
    assert max(float(np.abs(one).max()) for one in found.values()) > 1e-3


@pytest.mark.parametrize("kind", [Softmaxes, lambda space: Recurrent(space, 7)], ids=["softmax", "lstm"])
def test_the_probabilities_of_all_architectures_add_up_to_one(kind) -> None:
    rng = np.random.default_rng(5)
    controller: Controller = kind(CONDITIONAL)
    parameters = {name: rng.normal(0, 1, value.shape) for name, value in controller.initial(rng).items()}
    everything = [CONDITIONAL.at(number) for number in range(CONDITIONAL.size())]
    probabilities = [np.exp(controller.of(parameters, one).taken.sum()) for one in everything]
    assert sum(probabilities) == pytest.approx(1)
    drawn = [controller.draw(parameters, rng).architecture for _ in range(4000)]
    for architecture, probability in zip(everything, probabilities, strict=True):
        error = (probability * (1 - probability) / 4000) ** 0.5
        assert drawn.count(architecture) / 4000 == pytest.approx(probability, abs=5 * error + 1e-3)


def test_the_lstm_knows_what_was_chosen_before_and_the_softmaxes_do_not() -> None:
    rng = np.random.default_rng(1)
    first, second = (TINY.architecture({"a": a, "b": 1}) for a in ("x", "z"))
    for controller, knows in ((Softmaxes(TINY), False), (Recurrent(TINY, 7), True)):
        parameters = {name: rng.normal(0, 1, value.shape) for name, value in controller.initial(rng).items()}
        last = [controller.of(parameters, one).decisions[1].log_probabilities for one in (first, second)]
        assert np.allclose(*last) is not knows


def test_adam_steps_as_published() -> None:
    """Kingma and Ba (2015), algorithm 1, for two gradients."""
    parameters = {"w": np.array([1.0, -2.0])}
    adam = Adam(0.1)
    adam.ascend(parameters, {"w": np.array([3.0, -0.5])})
    assert parameters["w"] == pytest.approx([1.1, -2.1])  # the first step is the rate, whatever the gradient
    adam.ascend(parameters, {"w": np.array([-1.0, -0.5])})
    mean = (0.9 * 0.1 * 3 - 0.1) / (1 - 0.9**2)
    square = (0.999 * 0.001 * 9 + 0.001) / (1 - 0.999**2)
    assert parameters["w"] == pytest.approx([1.1 + 0.1 * mean / square**0.5, -2.2])


@every_variant
def test_the_better_of_two_becomes_more_probable(controller: str, update: str) -> None:
    good, bad = TINY.architecture({"a": "x", "b": 1}), TINY.architecture({"a": "y", "b": 2})
    searcher = make(TINY, 0, controller, update, learning_rate=0.01, batch=10)
    results = [judged(Proposal(one), lambda one: 90.0 if one == good else 10.0) for one in (good, bad) * 60]
    found = []
    for told in range(10, 121, 10):
        learner = searcher.learnt(results[:told])
        found.append([float(learner.form.of(learner.parameters, one).taken.sum()) for one in (good, bad)])
    odds = [better - worse for better, worse in found]
    assert odds == sorted(odds)
    assert odds[-1] > odds[0] + 0.2


@every_variant
def test_a_history_gives_one_policy_however_it_was_told(controller: str, update: str) -> None:
    results = [judged(Proposal(DARTS.sample(np.random.default_rng(n))), arbitrary) for n in range(35)]
    at_once = make(DARTS, 0, controller, update).learnt(results).parameters
    step_by_step = make(DARTS, 0, controller, update)
    for told in (3, 4, 20, 11, 35):
        parameters = step_by_step.learnt(results[:told]).parameters
    assert all(np.array_equal(at_once[name], parameters[name]) for name in at_once)
    # Another history of the same length, and the same last result, is another one.
    other = [*results[1:34], results[0], results[34]]
    assert any(not np.array_equal(at_once[n], v) for n, v in step_by_step.learnt(other).parameters.items())


def test_results_are_learnt_from_once_the_batch_is_complete() -> None:
    searcher = make(TINY, 0, "Softmax", "PPO", batch=3)
    results = [judged(Proposal(TINY.at(number)), arbitrary) for number in range(3)]
    assert not searcher.learnt(results[:2]).parameters["logits"].any()
    assert searcher.learnt(results).parameters["logits"].any()


def test_a_failure_counts_as_the_worst_so_far() -> None:
    a, b, c = (TINY.at(number) for number in (0, 1, 2))
    worst, other = judged(Proposal(a), lambda _: 0.2), judged(Proposal(b), lambda _: 0.9)

    def learnt(*results: Result) -> Matrix:
        return make(TINY, 0, "Softmax", "REINFORCE").learnt(results).parameters["logits"]

    failed, beyond = Result(Proposal(c), None), Result(Proposal(c), (5.0,), (0.1,))
    as_worst = judged(Proposal(c), lambda _: 0.2)
    assert np.array_equal(learnt(worst, other, failed), learnt(worst, other, as_worst))
    assert np.array_equal(learnt(worst, other, beyond), learnt(worst, other, as_worst))
    assert not learnt(failed, beyond).any()
    assert np.array_equal(learnt(failed, worst, other), learnt(worst, other))


@cache
def random_search(seed: int) -> float:
    return max(result.value or 0.0 for result in search(Random(NB201, seed), smooth, 200))


@every_variant
def test_it_finds_more_than_random_search_at_equal_cost(controller: str, update: str) -> None:
    gains = []
    for seed in range(6):
        results = search(make(NB201, seed, controller, update), smooth, 200)
        gains.append(max(result.value or 0.0 for result in results) - random_search(seed))
    print(f"{controller}, {update}: {statistics.mean(gains):.2f} more, {standard_errors(gains):.1f} standard errors")
    assert statistics.mean(gains) > 0.3
    assert standard_errors(gains) > 2


def test_reinforce_finds_more_than_random_search_on_measured_accuracies() -> None:
    """NAS-Bench-201, CIFAR-10, searched by the accuracy after 12 epochs, 300 trials; Dong and Yang (2020, table 5)."""
    table = measured()
    gains = []
    for seed in range(10):
        found, random = (
            max(result.value or 0.0 for result in search(searcher, lambda one: table[to_string(one)][0], 300))
            for searcher in (PolicyGradient(NB201, seed), Random(NB201, seed))
        )
        gains.append(found - random)
    print(f"{statistics.mean(gains):.2f} percent more, {standard_errors(gains):.1f} standard errors")
    assert statistics.mean(gains) > 0.3
    assert standard_errors(gains) > 3
