"""The policy of ENAS: what it draws, and that REINFORCE climbs the mean reward and the entropy, computed exactly."""

from __future__ import annotations

import math
from collections import Counter
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from archsearch.api import NasBench201
from archsearch.spaces import Architecture, Choice, Space
from archsearch.supernets.policy import Policy, Reinforce, policy_of

SPACE = Space(
    "small",
    (
        Choice("first", ("a", "b", "c")),
        Choice("only with b", (1, 2), when=(("first", "b"),)),
        Choice("inputs", ((0, 1), (0, 2), (1, 2))),
        Choice("of two", (3, 5), when=(("inputs", 2),)),
    ),
    NasBench201(),
)
EVERY = [SPACE.at(index) for index in range(SPACE.size())]
REWARDS = {one: math.sin(3.0 * at) for at, one in enumerate(EVERY)}
controllers = pytest.mark.parametrize("controller", ["LSTM", "Softmax"])
Controller = Literal["LSTM", "Softmax"]


def policy(controller: Controller, seed: int = 0) -> Policy:
    """One with opinions: a new one is almost uniform."""
    made = policy_of(SPACE, controller, temperature=2.0, limit=2.5, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(12.0 if controller == "Softmax" else 7.0)
    return made


def reinforce(made: Policy, entropy_weight: float = 0.0, learning_rate: float = 0.05) -> Reinforce:
    return Reinforce(made, learning_rate=learning_rate, entropy_weight=entropy_weight, decay=0.9)


def expected(made: Policy, entropy_weight: float) -> Tensor:
    """The mean reward plus the weighted entropy, over all architectures."""
    log = torch.stack([made.of(one).log_probability for one in EVERY])
    reward = torch.tensor([REWARDS[one] for one in EVERY], dtype=torch.float64)
    return (log.exp() * (reward - entropy_weight * log)).sum()


def flat(made: Policy) -> Tensor:
    return torch.cat([torch.zeros_like(w).flatten() if w.grad is None else w.grad.flatten() for w in made.parameters()])


@controllers
def test_the_probabilities_of_all_architectures_add_up_to_one(controller: Controller) -> None:
    made = policy(controller)
    probabilities = [float(made.of(one).log_probability.detach().exp()) for one in EVERY]
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-12)
    assert max(probabilities) > 2 / len(EVERY)


@controllers
def test_architectures_are_drawn_as_often_as_they_are_probable(controller: Controller) -> None:
    made, random = policy(controller), torch.Generator().manual_seed(1)
    with torch.no_grad():
        drawn = [made.draw(random) for _ in range(3000)]
        counts = Counter(one.architecture for one in drawn)
        for one in EVERY:
            probability = float(made.of(one).log_probability.exp())
            deviation = math.sqrt(probability * (1 - probability) / 3000)
            assert abs(counts[one] / 3000 - probability) < 4 * deviation
        for found, log_probability in drawn[:50]:
            assert SPACE.architecture(found.values) == found
            assert made.of(found).log_probability == log_probability


def test_only_the_lstm_knows_the_choices_before() -> None:
    """How probable (0, 2) is after a and after c."""

    def conditional(made: Policy, first: str) -> float:
        each = {one: float(made.of(one).log_probability.detach().exp()) for one in EVERY if one["first"] == first}
        return sum(p for one, p in each.items() if one["inputs"] == (0, 2)) / sum(each.values())

    assert conditional(policy("Softmax"), "a") == pytest.approx(conditional(policy("Softmax"), "c"), abs=1e-12)
    assert abs(conditional(policy("LSTM"), "a") - conditional(policy("LSTM"), "c")) > 0.01


@controllers
@pytest.mark.parametrize("entropy_weight", [0.0, 0.3])
def test_the_mean_gradient_is_that_of_the_expected_reward_and_entropy(
    controller: Controller, entropy_weight: float
) -> None:
    """The mean over all architectures, each as often as it is drawn, against finite differences; any baseline does."""
    made = policy(controller)
    learner = reinforce(made, entropy_weight)
    learner.baseline = 0.37
    total = torch.zeros((), dtype=torch.float64)
    for one in EVERY:
        drawn = made.of(one)
        total = total + drawn.log_probability.detach().exp() * learner.loss([drawn], [REWARDS[one]])
    total.backward()  # type: ignore[no-untyped-call]
    gradient = -flat(made)
    generator = torch.Generator().manual_seed(2)
    at = parameters_to_vector(made.parameters()).detach()
    for _ in range(3):
        direction = torch.randn(len(gradient), generator=generator, dtype=torch.float64)
        sides = []
        for step in (1e-5, -1e-5):
            vector_to_parameters(at + step * direction, made.parameters())
            sides.append(expected(made, entropy_weight).item())
        assert float(gradient @ direction) == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-5, abs=1e-8)


@controllers
def test_the_gradient_of_draws_comes_near_its_mean(controller: Controller) -> None:
    made = policy(controller)
    (-expected(made, 0.3)).backward()  # type: ignore[no-untyped-call]
    exact = flat(made)
    made.zero_grad()
    learner, random = reinforce(made, 0.3), torch.Generator().manual_seed(3)
    drawn = [made.draw(random) for _ in range(1500)]
    learner.loss(drawn, [REWARDS[one.architecture] for one in drawn]).backward()  # type: ignore[no-untyped-call]
    assert float(torch.cosine_similarity(flat(made), exact, dim=0)) > 0.95
    assert float((flat(made) - exact).norm() / exact.norm()) < 0.3


@controllers
def test_entropy_alone_makes_a_policy_uniform(controller: Controller) -> None:
    made, random = policy(controller), torch.Generator().manual_seed(4)

    def spread() -> float:
        log = torch.stack([made.of(one).log_probability for one in EVERY]).detach()
        return float(-(log.exp() * log).sum())

    before, learner = spread(), reinforce(made, entropy_weight=1.0, learning_rate=0.03)
    for _ in range(120):
        learner.step([made.draw(random) for _ in range(6)], [0.0] * 6)
    assert before < 0.94 * math.log(len(EVERY))
    assert spread() > 0.97 * math.log(len(EVERY))


@controllers
def test_rewards_lead_to_the_best_architecture(controller: Controller) -> None:
    """The more choices it has as the best one has them, the better; one of them is opened by another only."""
    made, random = policy(controller, seed=5), torch.Generator().manual_seed(6)
    learner, best = reinforce(made), SPACE.architecture({"first": "b", "only with b": 2, "inputs": (0, 1)})

    def reward(one: Architecture) -> float:
        return len(one.values.items() & best.values.items()) / 3

    for _ in range(120):
        drawn = [made.draw(random) for _ in range(6)]
        learner.step(drawn, [reward(one.architecture) for one in drawn])
    assert made.likely() == best
    assert float(made.of(best).log_probability.detach().exp()) > 0.8


def test_no_option_becomes_certain() -> None:
    """A tanh keeps two logits at most 2 x 2.5 apart."""
    made = policy("Softmax")
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.linspace(1e6, -1e6, len(weight), dtype=torch.float64))
    first = sum(float(made.of(one).log_probability.detach().exp()) for one in EVERY if one["first"] == "c")
    assert first == pytest.approx(math.exp(-2.5) / (math.exp(2.5) + 1 + math.exp(-2.5)), rel=1e-9)


def test_the_baseline_starts_at_the_first_rewards_and_follows_slowly_after_each_step() -> None:
    made = policy("Softmax")
    learner = reinforce(made)
    one: Architecture = EVERY[0]
    drawn = [made.of(one), made.of(one)]
    assert learner.loss(drawn, [0.4, 0.4]).item() == 0.0
    learner.step(drawn, [0.2, 0.6])
    assert learner.baseline == pytest.approx((0.4 * 0.9 + 0.1 * 0.2) * 0.9 + 0.1 * 0.6, abs=1e-12)


@controllers
@pytest.mark.parametrize("name", ["type", "keys", "training", "half"])
def test_a_choice_may_be_named_as_what_a_module_has(controller: Controller, name: str) -> None:
    """A custom space's choices are named by its user."""
    space = Space("named", (Choice(name, ("a", "b")),), NasBench201())
    made = policy_of(space, controller, temperature=2.0, limit=2.5, generator=torch.Generator().manual_seed(0))
    assert made.draw(torch.Generator().manual_seed(0)).architecture[name] in ("a", "b")
