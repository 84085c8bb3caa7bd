"""Terms of the architecture's loss by hand, their gradients by differences, and how costs enter a search."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from archsearch.api.differentiable import Differentiable
from archsearch.networks import Sparse
from archsearch.supernets import Moment, Penalty, Recipe, Regulariser, parts_of
from archsearch.supernets.regularisers import (
    add_cost,
    beta_decay,
    dirichlet_divergence,
    multiply_cost,
    multiply_log_cost,
    zero_one,
)
from tests.supernets.tiny import SPACE, bilevel

FIRST, SECOND = [0.4, -0.3, 1.1], [0.2, -0.9]
MOMENT = Moment(3, 10, torch.Generator())


def alphas() -> dict[str, Tensor]:
    return {"a": torch.tensor(FIRST, dtype=torch.float64), "b": torch.tensor(SECOND, dtype=torch.float64)}


def divergence(alpha: list[float]) -> float:
    """KL(Dirichlet(c) || Dirichlet(1)) = ln G(c_0) - sum ln G(c_i) - ln G(k) + sum (c_i - 1)(psi(c_i) - psi(c_0))."""
    c = [value + 1 if value > 0 else math.exp(value) for value in alpha]
    psi = [float(torch.digamma(torch.tensor(value, dtype=torch.float64))) for value in (*c, sum(c))]
    constant = math.lgamma(sum(c)) - sum(math.lgamma(value) for value in c) - math.lgamma(len(c))
    return constant + sum((value - 1) * (own - psi[-1]) for value, own in zip(c, psi[:-1], strict=True))


def logsumexp(alpha: list[float]) -> float:
    return math.log(sum(math.exp(value) for value in alpha))


def squares() -> float:
    halves = [1 / (1 + math.exp(-value)) - 0.5 for value in (*FIRST, *SECOND)]
    return sum(value**2 for value in halves) / 5


TERMS: dict[str, tuple[Regulariser, float]] = {
    "beta decay": (beta_decay(lambda moment: 2.0 * moment.epoch), 6 * (logsumexp(FIRST) + logsumexp(SECOND)) / 2),
    "zero-one": (zero_one(10), -10 * squares()),
    "divergence": (dirichlet_divergence(0.5), 0.5 * (divergence(FIRST) + divergence(SECOND))),
}
every_term = pytest.mark.parametrize(("term", "expected"), TERMS.values(), ids=TERMS.keys())


@every_term
def test_a_term_is_what_the_paper_says(term: Regulariser, expected: float) -> None:
    assert float(term(alphas(), MOMENT)) == pytest.approx(expected, rel=1e-12)


@every_term
def test_a_term_has_the_gradient_of_its_value(term: Regulariser, expected: float) -> None:
    leaves = {name: alpha.requires_grad_() for name, alpha in alphas().items()}
    found = torch.autograd.grad(term(leaves, MOMENT), list(leaves.values()))
    for (name, alpha), gradient in zip(alphas().items(), found, strict=True):
        for index in range(len(alpha)):
            sides = []
            for side in (1e-6, -1e-6):
                moved = alphas()
                moved[name][index] += side
                sides.append(float(term(moved, MOMENT)))
            assert float(gradient[index]) == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-8)


def test_the_weight_of_the_decay_rises_linearly_to_that_of_the_paper() -> None:
    """0.5 an epoch (published code)."""
    (term,) = parts_of(Recipe.of(Differentiable(method="BetaDARTS"))).regularisers
    one = (logsumexp(FIRST) + logsumexp(SECOND)) / 2
    for epoch in (0, 1, 20, 49):
        assert float(term(alphas(), Moment(epoch, 50, torch.Generator()))) == pytest.approx(
            0.5 * epoch * one, rel=1e-12
        )


def test_the_divergence_is_zero_where_the_distribution_is_uniform() -> None:
    assert float(dirichlet_divergence(1)({"a": torch.zeros(4, dtype=torch.float64)}, MOMENT)) == pytest.approx(
        0, abs=1e-12
    )


def test_the_zero_one_loss_drives_away_from_a_half() -> None:
    leaf = torch.tensor([0.3, -0.3], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(zero_one(10)({"a": leaf}, MOMENT), leaf)
    assert gradient[0] < 0 < gradient[1]  # the step is against it


MILLISECONDS = torch.tensor([1.0, 2.0, 5.0, 9.0, 0.0], dtype=torch.float64)


def expected_milliseconds(mix: Mapping[str, Tensor]) -> Tensor:
    """A hand-made table: every choice costs the same, and so does what no choice decides."""
    return 3 + torch.stack([weights.double() @ MILLISECONDS for weights in mix.values()]).sum()


FORMS: dict[str, tuple[Penalty, Callable[[float, float], float]]] = {
    "add": (add_cost(expected_milliseconds, 8, 0.7), lambda loss, cost: loss + 0.7 * (cost / 8 - 1)),
    "mul": (multiply_cost(expected_milliseconds), lambda loss, cost: loss * 0.2 * math.log(cost) ** 0.6),
    "mul#log": (
        multiply_log_cost(expected_milliseconds, 8),
        lambda loss, cost: loss * 0.2 * (math.log(cost) / math.log(8)) ** 0.3,
    ),
}
every_form = pytest.mark.parametrize(("form", "value"), FORMS.values(), ids=FORMS.keys())


@every_form
def test_a_cost_enters_the_loss_as_published(form: Penalty, value: Callable[[float, float], float]) -> None:
    """By hand, and with the gradients by the loss and by the probabilities."""
    loss = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    p = torch.tensor([0.1, 0.4, 0.2, 0.25, 0.05], dtype=torch.float64, requires_grad=True)
    cost = 3 + 0.1 + 0.8 + 1 + 2.25
    found = form(loss, {"a": p})
    assert float(found.detach()) == pytest.approx(value(1.7, cost), rel=1e-12)
    by_loss, by_p = torch.autograd.grad(found, [loss, p])
    assert float(by_loss) == pytest.approx((value(1.7 + 1e-6, cost) - value(1.7 - 1e-6, cost)) / 2e-6, rel=1e-7)
    slope = (value(1.7, cost + 1e-6) - value(1.7, cost - 1e-6)) / 2e-6
    torch.testing.assert_close(by_p, slope * MILLISECONDS, rtol=1e-6, atol=1e-12)


def test_a_reference_without_a_logarithm_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reference must be greater than 1 in the unit of the cost, but got 0\.5"):
        multiply_log_cost(expected_milliseconds, 0.5)


@pytest.mark.parametrize("form", [multiply_cost, lambda expected: multiply_log_cost(expected, 8)])
def test_a_cost_below_one_gives_no_nan(form: Callable[[Callable[[Mapping[str, Tensor]], Tensor]], Penalty]) -> None:
    leaf = torch.tensor([0.5, 0.0], requires_grad=True)
    found = form(lambda mix: mix["a"].sum())(torch.tensor(2.0), {"a": leaf})
    (gradient,) = torch.autograd.grad(found, leaf)
    assert math.isfinite(float(found.detach()))
    assert gradient.isfinite().all()


@every_form
@pytest.mark.parametrize("method", ["DARTS", "ProxylessNAS", "FBNet", "GDAS"])
def test_a_cost_moves_a_search_to_what_is_cheap(
    method: str, form: Penalty, value: Callable[[float, float], float]
) -> None:
    """Whatever is mixed: the expected cost falls below what it is without the term."""
    settings = Differentiable.model_validate(
        {"method": method, "epochs": 3, "batch_size": 8, "order": "First", "warmup_percent": 0, "architecture_every": 1,
         "architecture_learning_rate": "0.1"}
    )  # fmt: skip
    costs = {}
    for name, penalty in (("without", None), ("with", form)):
        parts = replace(parts_of(Recipe.of(settings)), penalty=penalty)
        training = bilevel(settings, parts=parts, images=24)
        for _ in range(3):
            training.run_epoch(lambda: False)
        costs[name] = float(expected_milliseconds(training.probabilities()).detach())
    assert costs["with"] < costs["without"] - 0.5
    assert value(1, 2) < value(1, 3)  # all forms rise with the cost


def test_the_cost_of_a_drawn_path_is_that_of_the_distribution() -> None:
    """Its gradient is then exact, where that of a draw would be zero."""
    seen: list[Mapping[str, Tensor]] = []

    def look(loss: Tensor, mix: Mapping[str, Tensor]) -> Tensor:
        seen.append(mix)
        return loss

    settings = Differentiable(method="ProxylessNAS", warmup_percent=0, batch_size=8, epochs=1)
    training = bilevel(settings, parts=parts_of(Recipe.of(settings), look))
    assert any(isinstance(value, Sparse) for value in training.mix().values())
    training.run_epoch(lambda: False)
    assert seen
    assert seen[0].keys() == {choice.name for choice in SPACE.choices if not choice.is_subset}
    assert all(weights.requires_grad for weights in seen[0].values())
    assert all(float(weights.detach().max()) < 0.25 for weights in seen[0].values())
