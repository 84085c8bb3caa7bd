"""The architecture's gradients against what they stand for: numerical derivatives and exact double backward."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from archsearch.supernets import entropy, softmax
from archsearch.supernets.gradients import batch_norms, batch_statistics, first_order, second_order
from archsearch.supernets.mixing import Moment
from tests.supernets.tiny import DIGITS, SPACE, exactly, network

XI, MOMENTUM, DECAY = 0.05, 0.9, 3e-4
STEP = 1e-6  # of numerical derivatives
MOMENT = Moment(0, 1, torch.Generator())


class Problem:
    """A small supernet in float64 in the middle of its training, with the objectives as functions of everything.

    smooth: with averages in the place of maxima.
    """

    def __init__(self, *, smooth: bool = False) -> None:
        self.network = network(dtype=torch.float64)
        if smooth:
            replace_maxima(self.network)
        generator = torch.Generator().manual_seed(1)
        self.alphas = {
            choice.name: torch.randn(
                len(choice.alternatives), dtype=torch.float64, generator=generator
            ).requires_grad_()
            for choice in SPACE.choices
            if not choice.is_subset
        }
        self.weights = dict(self.network.named_parameters())
        self.training = exactly(DIGITS.weights.inputs[:12]), DIGITS.weights.targets[:12]
        self.validation = exactly(DIGITS.architecture.inputs[:12]), DIGITS.architecture.targets[:12]
        self.optimiser = torch.optim.SGD(self.weights.values(), lr=XI, momentum=MOMENTUM, weight_decay=DECAY)
        for _ in range(2):  # so that there is a momentum
            self.loss(self.training).backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.optimiser.zero_grad()
        for alpha in self.alphas.values():
            alpha.grad = None

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        mix = {name: torch.softmax(alpha, -1) for name, alpha in self.alphas.items()}
        return functional.cross_entropy(self.network(batch[0], mix), batch[1])

    def unrolled(self) -> Tensor:
        """L_val(w - xi (momentum x buffer + grad L_train(w, a) + decay x w), a), differentiable by a throughout."""
        gradients = torch.autograd.grad(self.loss(self.training), list(self.weights.values()), create_graph=True)
        ahead = {
            name: weight.detach()
            - XI * (MOMENTUM * self.optimiser.state[weight]["momentum_buffer"] + gradient + DECAY * weight.detach())
            for (name, weight), gradient in zip(self.weights.items(), gradients, strict=True)
        }
        mix = {name: torch.softmax(alpha, -1) for name, alpha in self.alphas.items()}
        logits: Tensor = functional_call(self.network, ahead, (self.validation[0], mix))
        return functional.cross_entropy(logits, self.validation[1])

    def second(self, epsilon: float) -> Tensor:
        return torch.cat(
            second_order(
                lambda: self.loss(self.training), lambda: self.loss(self.validation), list(self.alphas.values()),
                self.optimiser, epsilon=epsilon,
            )
        )  # fmt: skip


def replace_maxima(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.MaxPool2d):
            setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        else:
            replace_maxima(child)


def numerical(problem: Problem, objective: Callable[[], Tensor]) -> Tensor:
    """Central differences of an objective by every architecture weight."""
    values = []
    for alpha in problem.alphas.values():
        for index in range(len(alpha)):
            sides = []
            for side in (STEP, -STEP):
                with torch.no_grad():
                    alpha[index] += side
                sides.append(float(objective().detach()))
                with torch.no_grad():
                    alpha[index] -= side
            values.append((sides[0] - sides[1]) / (2 * STEP))
    return torch.tensor(values, dtype=torch.float64)


def error(found: Tensor, expected: Tensor) -> float:
    return float(torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected))


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem()


@pytest.fixture(scope="module")
def exact(problem: Problem) -> Tensor:
    """The gradient of the unrolled objective by double backward, no difference anywhere."""
    return torch.cat(torch.autograd.grad(problem.unrolled(), list(problem.alphas.values())))


def test_the_first_order_gradient_is_the_derivative_of_the_loss(problem: Problem) -> None:
    alphas, weights = list(problem.alphas.values()), list(problem.weights.values())
    found = torch.cat(first_order(lambda: problem.loss(problem.validation), alphas, weights))
    automatic = torch.cat(torch.autograd.grad(problem.loss(problem.validation), alphas))
    torch.testing.assert_close(found, automatic, rtol=0, atol=1e-14)
    assert error(found, numerical(problem, lambda: problem.loss(problem.validation))) < 1e-6


def test_the_second_order_gradient_is_the_derivative_of_the_unrolled_objective(problem: Problem, exact: Tensor) -> None:
    found = problem.second(1e-5)
    assert error(found, numerical(problem, problem.unrolled)) < 1e-4
    assert error(found, exact) < 1e-4


def test_the_step_of_the_paper_is_close_to_the_exact_gradient_where_the_network_is_smooth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """0.01 / |v| costs less than 0.1 % where there are no kinks. With ReLU it crosses some, and as images of digits
    have large equal backgrounds, many at once: it is then no approximation of the derivative at the point."""
    monkeypatch.setattr(functional, "relu", lambda x, inplace=False: functional.silu(x))
    smooth = Problem(smooth=True)
    exact = torch.cat(torch.autograd.grad(smooth.unrolled(), list(smooth.alphas.values())))
    coarse, fine = error(smooth.second(0.01), exact), error(smooth.second(0.001), exact)
    assert coarse < 1e-3
    assert fine < coarse / 50  # a central difference: its error falls with the square of the step


def test_looking_ahead_changes_the_gradient(problem: Problem, exact: Tensor) -> None:
    """Otherwise the bounds above would hold for the first order too."""
    alphas, weights = list(problem.alphas.values()), list(problem.weights.values())
    first = torch.cat(first_order(lambda: problem.loss(problem.validation), alphas, weights))
    assert error(first, exact) > 0.05
    ahead = problem.second(1e-5)
    product = ahead - torch.cat(torch.autograd.grad(_loss_ahead(problem), alphas))
    assert float(torch.linalg.vector_norm(product) / torch.linalg.vector_norm(exact)) > 1e-3


def _loss_ahead(problem: Problem) -> Tensor:
    """The loss at the weights of the next step, as if these did not depend on the architecture weights."""
    gradients = torch.autograd.grad(problem.loss(problem.training), list(problem.weights.values()))
    ahead = {
        name: weight.detach()
        - XI * (MOMENTUM * problem.optimiser.state[weight]["momentum_buffer"] + gradient + DECAY * weight.detach())
        for (name, weight), gradient in zip(problem.weights.items(), gradients, strict=True)
    }
    mix = {name: torch.softmax(alpha, -1) for name, alpha in problem.alphas.items()}
    logits: Tensor = functional_call(problem.network, ahead, (problem.validation[0], mix))
    return functional.cross_entropy(logits, problem.validation[1])


def test_weights_are_restored_to_the_bit_even_where_a_pass_fails(problem: Problem) -> None:
    before = {name: weight.detach().clone() for name, weight in problem.weights.items()}

    def failing() -> Tensor:
        assert any(not torch.equal(weight, before[name]) for name, weight in problem.weights.items())
        raise MemoryError

    with pytest.raises(MemoryError):
        second_order(lambda: problem.loss(problem.training), failing, list(problem.alphas.values()), problem.optimiser)
    problem.second(0.01)
    assert all(torch.equal(weight, before[name]) for name, weight in problem.weights.items())
    assert all(tensor.requires_grad for tensor in (*problem.weights.values(), *problem.alphas.values()))


def test_passes_in_between_leave_running_statistics_alone(problem: Problem) -> None:
    def buffers() -> dict[str, Tensor]:
        return {name: buffer.clone() for name, buffer in problem.network.named_buffers()}

    before = buffers()
    with batch_statistics(batch_norms(problem.network)):
        within = problem.loss(problem.training)
    assert before
    assert all(torch.equal(value, before[name]) for name, value in buffers().items())
    assert torch.equal(within, problem.loss(problem.training))
    assert all(not torch.equal(value, before[name]) for name, value in buffers().items())


def test_softmax_mixes_by_the_exponential() -> None:
    mix = softmax(torch.tensor([0.0, math.log(3.0)], dtype=torch.float64), MOMENT)
    torch.testing.assert_close(mix, torch.tensor([0.25, 0.75], dtype=torch.float64), rtol=0, atol=1e-15)


def test_entropy_is_the_logarithm_of_the_alternatives_where_undecided_and_zero_where_decided() -> None:
    undecided, decided = torch.full((4,), 0.25), torch.tensor([0.0, 1.0, 0.0])
    assert entropy({"a": undecided}) == pytest.approx(math.log(4), abs=1e-12)
    assert entropy({"a": decided}) == 0
    assert entropy({"a": undecided, "b": decided}) == pytest.approx(math.log(4) / 2, abs=1e-12)
