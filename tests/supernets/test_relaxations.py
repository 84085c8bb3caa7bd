"""Every relaxation: its values, its gradient by the architecture weights, and what holds on average."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from archsearch.api.differentiable import Differentiable
from archsearch.api.methods import Mixing as MixingName
from archsearch.networks import Sparse
from archsearch.supernets import Moment, Recipe, entropy, parts_of
from archsearch.supernets.mixing import (
    Half,
    Relaxation,
    binary_gates,
    concentration,
    dirichlet,
    expected_dirichlet,
    hard_gumbel_softmax,
    keep_others,
    one_path,
)
from archsearch.supernets.parts import temperature

ALPHA = torch.tensor([0.4, -0.3, 1.1, 0.1, -1.2], dtype=torch.float64)
COSTS = torch.tensor([0.7, -1.3, 0.2, 2.1, -0.4], dtype=torch.float64)  # dL/d(mixing weight)
STEP = 1e-6
DRAWS = 8_000


def moment(seed: int = 0, half: Half = "Architecture", epoch: int = 2) -> Moment:
    return Moment(epoch, 10, torch.Generator().manual_seed(seed), half)


def relaxation(mixing: MixingName) -> Relaxation:
    return parts_of(Recipe.of(Differentiable(method="GDAS", mixing=mixing, temperature=None))).relaxation


def weights_of(mixed: Tensor | Sparse) -> Tensor:
    return mixed.weights if isinstance(mixed, Sparse) else mixed


def numerical(function: Callable[[Tensor], Tensor], alpha: Tensor = ALPHA) -> Tensor:
    """Central differences of sum(COSTS x function(alpha))."""
    found = []
    for index in range(len(alpha)):
        step = torch.zeros_like(alpha).index_fill(0, torch.tensor([index]), STEP)
        found.append((COSTS @ (function(alpha + step) - function(alpha - step))) / (2 * STEP))
    return torch.stack(found)


def automatic(function: Callable[[Tensor], Tensor | Sparse], alpha: Tensor = ALPHA) -> Tensor:
    leaf = alpha.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(COSTS @ weights_of(function(leaf)), leaf)
    return gradient


@pytest.mark.parametrize("mixing", ["Softmax", "Sigmoid", "GumbelSoftmax"])
@pytest.mark.parametrize("seed", range(3))
def test_a_smooth_mix_has_the_gradient_of_its_value(mixing: MixingName, seed: int) -> None:
    """With the same noise at every point, where there is any."""
    mix = relaxation(mixing).mix
    found = automatic(lambda alpha: mix(alpha, moment(seed)))
    torch.testing.assert_close(found, numerical(lambda alpha: weights_of(mix(alpha, moment(seed)))), rtol=0, atol=1e-8)


@pytest.mark.parametrize("mixing", ["Softmax", "GumbelSoftmax", "HardGumbelSoftmax", "Dirichlet", "OnePath"])
def test_mixing_weights_are_probabilities(mixing: MixingName) -> None:
    for seed in range(20):
        weights = weights_of(relaxation(mixing).mix(ALPHA, moment(seed)))
        assert float(weights.sum()) == pytest.approx(1, abs=1e-12)
        assert float(weights.min()) >= 0


@pytest.mark.parametrize("mixing", ["Softmax", "Sigmoid", "GumbelSoftmax", "Dirichlet"])
def test_probabilities_have_the_gradient_of_their_value(mixing: MixingName) -> None:
    found = relaxation(mixing).probabilities
    torch.testing.assert_close(automatic(found), numerical(found), rtol=0, atol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_a_hard_gumbel_softmax_is_one_operation_with_the_gradient_of_the_soft_one(seed: int) -> None:
    soft, hard = relaxation("GumbelSoftmax").mix, relaxation("HardGumbelSoftmax").mix
    mixed, smooth = hard(ALPHA, moment(seed)), weights_of(soft(ALPHA, moment(seed)))
    assert isinstance(mixed, Sparse)
    assert mixed.active == (int(smooth.argmax()),)
    assert mixed.weights.tolist() == [float(place in mixed.active) for place in range(5)]
    torch.testing.assert_close(
        automatic(lambda alpha: hard(alpha, moment(seed))),
        numerical(lambda alpha: weights_of(soft(alpha, moment(seed)))),
        rtol=0, atol=1e-7,
    )  # fmt: skip


@pytest.mark.parametrize("mix", [hard_gumbel_softmax(lambda _: 0.7), one_path], ids=["gumbel", "one path"])
def test_a_draw_is_distributed_as_the_softmax(mix: Callable[[Tensor, Moment], Sparse]) -> None:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.tensor([mix(ALPHA, Moment(0, 1, generator)).active[0] for _ in range(DRAWS)])
    share = torch.bincount(drawn, minlength=5).double() / DRAWS
    torch.testing.assert_close(share, torch.softmax(ALPHA, 0), rtol=0, atol=4 * 0.5 / math.sqrt(DRAWS))


def test_the_noise_is_the_moments_and_follows_from_its_generator() -> None:
    for mixing in ("GumbelSoftmax", "Dirichlet"):
        mix = relaxation(mixing).mix  # type: ignore[arg-type]
        one, same, other = (weights_of(mix(ALPHA, moment(seed))) for seed in (1, 1, 2))
        assert torch.equal(one, same)
        assert not torch.allclose(one, other)


def test_a_dirichlet_draw_leaves_the_global_noise_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    dirichlet(ALPHA, moment())
    assert torch.equal(torch.rand(3), expected)


def test_a_dirichlet_draw_has_the_mean_and_the_gradients_that_its_distribution_has() -> None:
    """E[x_i] = c_i / c_0 and E[x_i^2] = c_i (c_i + 1) / (c_0 (c_0 + 1)), and the derivatives of both by alpha."""
    alpha = ALPHA.clone().requires_grad_()
    generator = torch.Generator().manual_seed(2)
    first, second = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    draws = torch.stack([dirichlet(alpha, Moment(0, 1, generator)) for _ in range(DRAWS // 2)])
    first, second = draws @ COSTS, draws.square() @ COSTS
    parameters = concentration(alpha)
    total = parameters.sum()
    expected = COSTS @ expected_dirichlet(alpha), COSTS @ (parameters * (parameters + 1) / (total * (total + 1)))
    for value, exact in zip((first, second), expected, strict=True):
        assert float(value.mean().detach()) == pytest.approx(float(exact.detach()), abs=0.05)
        (found,) = torch.autograd.grad(value.mean(), alpha, retain_graph=True)
        (wanted,) = torch.autograd.grad(exact, alpha, retain_graph=True)
        torch.testing.assert_close(found, wanted, rtol=0, atol=0.04)
        assert float(wanted.abs().max()) > 0.1


def test_concentration_is_always_positive() -> None:
    assert concentration(torch.tensor([-1e4, -1.0, 0.0, 2.0])).tolist() == pytest.approx(
        [0, math.exp(-1), 1, 3], abs=1e-6
    )
    assert float(concentration(torch.tensor([-1e4])).min()) > 0


@pytest.mark.parametrize("seed", range(8))
def test_binary_gates_have_the_published_gradient(seed: int) -> None:
    """dL/da_i = sum_j dL/dg_j p_j (d_ij - p_i) over the two that were drawn, and nothing for the others."""
    mixed = binary_gates(ALPHA, moment(seed))
    two = list(mixed.active)
    assert len(set(two)) == 2
    gates = mixed.weights.tolist()
    assert sorted(gates) == [0, 0, 0, 0, 1]
    assert gates.index(1) in two
    p = torch.softmax(ALPHA[two], 0)
    expected = torch.zeros_like(ALPHA)
    for i, place in enumerate(two):
        expected[place] = sum(COSTS[two[j]] * p[j] * (float(i == j) - p[i]) for j in range(2))
    torch.testing.assert_close(automatic(lambda alpha: binary_gates(alpha, moment(seed))), expected, rtol=0, atol=1e-12)


def test_binary_gates_draw_two_by_their_probabilities_and_open_one_of_them_by_theirs() -> None:
    """The first of two that are drawn without replacement, and the softmax over the two."""
    generator, p = torch.Generator().manual_seed(3), torch.softmax(ALPHA, 0)
    pairs, opened = torch.zeros(5, 5, dtype=torch.float64), torch.zeros(5, 5, dtype=torch.float64)
    for _ in range(DRAWS):
        mixed = binary_gates(ALPHA, Moment(0, 1, generator, "Architecture"))
        low, high = sorted(mixed.active)
        pairs[low, high] += 1 / DRAWS
        opened[low, high] += float(mixed.weights[low]) / DRAWS
    for low in range(5):
        for high in range(low + 1, 5):
            drawn = p[low] * p[high] * (1 / (1 - p[low]) + 1 / (1 - p[high]))
            assert float(pairs[low, high]) == pytest.approx(float(drawn), abs=0.02)
            share = p[low] / (p[low] + p[high])
            assert float(opened[low, high]) == pytest.approx(float(drawn * share), abs=0.02)


def test_only_one_path_is_open_while_the_weights_are_trained() -> None:
    drawn = [binary_gates(ALPHA, moment(seed, "Weights")) for seed in range(200)]
    assert all(len(mixed.active) == 1 and mixed.weights.sum() == 1 for mixed in drawn)
    assert len({mixed.active for mixed in drawn}) == 5


def test_after_a_step_of_two_the_probabilities_of_the_others_are_what_they_were() -> None:
    mixed = binary_gates(ALPHA, moment(1))
    others = [place for place in range(5) if place not in mixed.active]
    moved = ALPHA + torch.linspace(-0.5, 0.7, 5, dtype=torch.float64)
    settled = keep_others(ALPHA, moved, mixed)
    before, after = torch.softmax(ALPHA, 0), torch.softmax(settled, 0)
    torch.testing.assert_close(after[others], before[others], rtol=0, atol=1e-14)
    assert settled[others].tolist() == ALPHA[others].tolist()
    two = list(mixed.active)
    torch.testing.assert_close(torch.softmax(settled[two], 0), torch.softmax(moved[two], 0), rtol=0, atol=1e-14)
    assert not torch.allclose(after[two], before[two])


def test_a_choice_of_one_alternative_is_made() -> None:
    single = torch.zeros(1, dtype=torch.float64)
    for mix in (binary_gates, one_path, hard_gumbel_softmax(lambda _: 1.0)):
        mixed = mix(single, moment())
        assert isinstance(mixed, Sparse)
        assert (mixed.active, mixed.weights.tolist()) == ((0,), [1])


def test_weights_that_are_no_numbers_are_mixed_without_an_error() -> None:
    """The search's own check then says that it diverged, and what to lower."""
    broken = torch.full((5,), math.nan)
    for mixing in ("Softmax", "Sigmoid", "GumbelSoftmax", "HardGumbelSoftmax", "Dirichlet", "BinaryGates", "OnePath"):
        relaxation(mixing).mix(broken, moment())  # type: ignore[arg-type]


SCHEDULES = {
    # Dong and Yang 2019; Wu et al. 2019: 5 exp(-0.045 epoch).
    "GDAS": (250, lambda epoch: 10 - 9.9 * epoch / 249),
    "FBNet": (90, lambda epoch: 5 * math.exp(-0.045 * epoch)),
    "SNAS": (150, lambda epoch: 0.03 ** (epoch / 149)),
}


@pytest.mark.parametrize("method", SCHEDULES)
def test_the_temperature_falls_as_published(method: str) -> None:
    epochs, expected = SCHEDULES[method]
    recipe = Recipe.of(Differentiable.model_validate({"method": method, "epochs": epochs}))
    found = [temperature(recipe)(Moment(epoch, epochs, torch.Generator())) for epoch in range(epochs)]
    assert found == pytest.approx([expected(epoch) for epoch in range(epochs)], rel=1e-4)


def test_a_search_of_one_epoch_has_a_temperature() -> None:
    recipe = Recipe.of(Differentiable(method="GDAS", epochs=1))
    assert temperature(recipe)(Moment(0, 1, torch.Generator())) == 10


def test_entropy_of_weights_that_do_not_add_up_to_one_is_that_of_their_shares() -> None:
    assert entropy({"a": torch.full((4,), 0.9)}) == pytest.approx(math.log(4), abs=1e-6)
