"""Perturbed mixing weights: inside their bounds, still probabilities, and the adversary is worse than chance."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from archsearch.api.differentiable import Differentiable
from archsearch.supernets.perturbation import adversarial, project, random
from tests.supernets.tiny import bilevel

MIX = {
    "a": torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64),
    "b": torch.tensor([0.05, 0.9, 0.05], dtype=torch.float64),
}
TARGET = torch.tensor([0.6, 0.1, 0.3], dtype=torch.float64)


def loss(mix: Mapping[str, Tensor]) -> Tensor:
    """Smallest where both are the target."""
    return torch.stack([(weights - TARGET).square().sum() for weights in mix.values()]).sum()


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.5, 0.6, -0.1], [0.5 / 1.1, 0.6 / 1.1, 0]),
        ([1.5, 0.0, 0.0], [1, 0, 0]),
        ([-0.3, -0.1, -0.2], [0, 1, 0]),  # nothing is left: the largest
    ],
)
def test_a_projection_cuts_off_and_adds_up_to_one(weights: list[float], expected: list[float]) -> None:
    found = project(torch.tensor(weights, dtype=torch.float64))
    assert found.tolist() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("perturb", [random, adversarial])
def test_a_perturbation_stays_a_distribution_and_follows_from_its_generator(perturb: type) -> None:
    one, same, other = (perturb(MIX, loss, 0.1, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    for name, weights in one.items():
        assert float(weights.sum()) == pytest.approx(1, abs=1e-12)
        assert float(weights.min()) >= 0
        assert torch.equal(weights, same[name])
        assert not torch.equal(weights, MIX[name])
    assert any(not torch.equal(one[name], other[name]) for name in MIX) or perturb is adversarial


def test_random_noise_is_uniform_within_the_radius() -> None:
    """Before it is made to add up to one, which changes little here."""
    generator = torch.Generator().manual_seed(0)
    many = {str(n): torch.full((5,), 0.2, dtype=torch.float64) for n in range(4000)}
    moved = torch.stack(list(random(many, loss, 0.1, generator).values()))
    shares = moved / moved.mean(1, keepdim=True) * 0.2 - 0.2
    assert float(shares.abs().max()) <= 0.1 / 0.5 * 1.2
    assert float(shares.mean()) == pytest.approx(0, abs=1e-12)
    assert float(shares.var()) == pytest.approx(0.2**2 / 12 * 0.8, rel=0.1)


def test_the_adversary_finds_more_than_chance() -> None:
    radius, worst = 0.15, []
    for seed in range(20):
        found = adversarial(MIX, loss, radius, torch.Generator().manual_seed(seed))
        worst.append(float(loss(found)))
    chance = [float(loss(random(MIX, loss, radius, torch.Generator().manual_seed(seed)))) for seed in range(20)]
    assert min(worst) > max(chance)
    assert min(worst) > float(loss(MIX))


def test_an_attack_that_finds_nothing_worse_changes_nothing() -> None:
    """At the maximum of the loss."""
    peak = {"a": torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)}
    found = adversarial(peak, lambda mix: mix["a"][1] - 1, 0.1, torch.Generator())
    assert torch.equal(found["a"], peak["a"])


@pytest.mark.parametrize("kind", ["Random", "Adversarial"])
def test_only_the_weights_step_is_perturbed_and_by_more_from_epoch_to_epoch(kind: str) -> None:
    """By 0.03 to 0.3 as in the published code; the architecture's step sees the mix itself."""
    settings = Differentiable.model_validate({"method": "SDARTS", "perturbation": kind, "epochs": 10, "batch_size": 8})
    training = bilevel(settings)
    seen: list[tuple[bool, dict[str, Tensor]]] = []

    def look(module: torch.nn.Module, arguments: tuple[Tensor, dict[str, Tensor]]) -> None:
        seen.append((module.training and torch.is_grad_enabled(), arguments[1]))

    training.network.register_forward_pre_hook(look)
    largest = []
    for epoch in (0, 5, 9):
        training.epoch = epoch
        plain = {name: weights.detach() for name, weights in training.mix().items() if isinstance(weights, Tensor)}
        seen.clear()
        batch = training._halves.take("Weights", epoch, 0)
        training.step_weights(batch)
        mixed = seen[-1][1]
        largest.append(max(float((mixed[name] - weights).abs().max()) for name, weights in plain.items()))
        seen.clear()
        training.step_architecture(batch, training._halves.take("Architecture", epoch, 0))
        assert all(torch.equal(seen[0][1][name].detach(), weights) for name, weights in plain.items())
    assert 0 < largest[0] < 0.04
    assert largest[0] < largest[1] < largest[2] < 0.45


def test_an_attack_leaves_the_network_as_it_was() -> None:
    settings = Differentiable(method="SDARTS", perturbation="Adversarial", epochs=2, batch_size=8)
    training = bilevel(settings)
    before = {name: value.clone() for name, value in training.network.state_dict().items()}
    batch = training._halves.take("Weights", 0, 0)
    training._relaxed.perturbed(batch, training.mix(), (0, 0))
    assert all(torch.equal(value, before[name]) for name, value in training.network.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in training.network.parameters())
