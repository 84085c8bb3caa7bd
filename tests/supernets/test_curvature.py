"""The Hessian's largest eigenvalue against the whole Hessian, and the rule by which RobustDARTS goes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import count

import pytest
import torch
from torch import Tensor

from archsearch.api.differentiable import Differentiable
from archsearch.api.methods import EigenvalueStop
from archsearch.evaluation import Diverged
from archsearch.spaces import Architecture
from archsearch.supernets.curvature import Monitor, largest_eigenvalue
from archsearch.supernets.gradients import batch_norms, batch_statistics
from archsearch.work.checkpoint import Identity, decode, encode
from tests.supernets.tiny import SPACE, bilevel, halves, plainly


def found(loss: Callable[[], Tensor], alphas: Sequence[Tensor], weights: Sequence[Tensor] = ()) -> float:
    generator = torch.Generator().manual_seed(0)
    return largest_eigenvalue(loss, alphas, weights, generator, iterations=2000, tolerance=1e-12)


@pytest.mark.parametrize(
    "eigenvalues", [[3, 1, 0.5], [3, -1, -2], [1, -3, 0.2], [-1, -2, -5], [0, 0, 0], [0, -1, -2]], ids=str
)
def test_it_is_the_largest_and_not_the_largest_in_size(eigenvalues: list[float]) -> None:
    torch.manual_seed(1)
    basis, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    hessian = basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T
    alphas = [torch.randn(size, dtype=torch.float64).requires_grad_() for size in (1, 2)]

    def loss() -> Tensor:
        flat = torch.cat(alphas)
        return flat @ hessian @ flat / 2 + flat.sum()

    assert found(loss, alphas) == pytest.approx(max(eigenvalues), abs=1e-9)


def test_it_is_that_of_the_whole_hessian_of_a_supernets_loss() -> None:
    """At architecture weights that are not all alike, in float64, against every second derivative."""
    training = bilevel(Differentiable(method="RobustDARTS", batch_size=8, epochs=2), dtype=torch.float64)
    names = list(training.alphas)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for alpha in training.alphas.values():
            alpha += torch.randn(alpha.shape, dtype=torch.float64, generator=generator)
    batch = training._halves.take("Architecture", 0, 0)

    def loss() -> Tensor:
        return training._relaxed.task_loss(batch, training.mix(), (0, 0))

    training.network.train()
    with batch_statistics(batch_norms(training.network)):
        value = found(loss, list(training.alphas.values()), list(training.network.parameters()))
        gradients = torch.autograd.grad(loss(), list(training.alphas.values()), create_graph=True)
        flat = torch.cat(gradients)
        rows = [
            torch.cat(torch.autograd.grad(entry, list(training.alphas.values()), retain_graph=True)) for entry in flat
        ]
    hessian = torch.stack(rows)
    assert hessian.shape == (5 * len(names), 5 * len(names))
    torch.testing.assert_close(hessian, hessian.T, rtol=0, atol=1e-12)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    assert value == pytest.approx(float(eigenvalues[-1]), rel=1e-6)
    assert value > 0
    assert all(weight.requires_grad and weight.grad is None for weight in training.network.parameters())


def architectures(number: int) -> list[Architecture]:
    return [SPACE.at(index) for index in range(number)]


def published(values: list[float], window: int = 5, grace: int = 10, factor: float = 1.3, delta: int = 4) -> int | None:
    """The epoch that the published code returns to, at the last of these, with an eigenvalue in every epoch."""
    averages: list[float] = []
    for epoch in range(len(values)):
        if epoch + 1 >= math.ceil(window / 2):
            recent = values[max(0, epoch + 1 - window) : epoch + 1]
            averages.append(sum(recent) / len(recent))
    last = len(values) - 1
    centre = last - window // 2
    if centre - delta >= grace and averages[-1] / averages[-1 - delta] > factor:
        return centre - delta
    return None


@pytest.mark.parametrize("seed", range(20))
def test_it_goes_back_where_the_published_code_does(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    monitor, found_at = Monitor(EigenvalueStop()), None
    values: list[float] = []
    every = architectures(60)
    for epoch in range(60):
        values.append(0.2 + 0.02 * epoch * float(torch.rand((), generator=generator)) + 0.001 * epoch**2 * (seed % 3))
        monitor.record(values[-1], every[epoch])
        back = published(values)
        assert monitor.chosen() == (None if back is None else every[back])
        if back is not None:
            found_at = epoch
            break
    assert (found_at is not None) or seed % 3 == 0


def test_it_returns_the_architecture_of_before_the_rise() -> None:
    """Flat at 1 until the 20th epoch, then 2: the average of 5 has risen by 1.3 once two of them are new."""
    monitor, every = Monitor(EigenvalueStop()), architectures(40)
    epoch = next(
        epoch for epoch in count() if monitor.record(1.0 if epoch < 20 else 2.0, every[epoch]) or monitor.chosen()
    )
    assert epoch == 21
    assert monitor.chosen() == every[21 - 2 - 4]


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_curvature_that_is_not_positive_ends_no_search(value: float) -> None:
    monitor = Monitor(EigenvalueStop(grace_epochs=0))
    for epoch, architecture in enumerate(architectures(30)):
        monitor.record(value if epoch < 15 else 5.0 * (epoch - 14), architecture)
        if epoch < 16:
            assert monitor.chosen() is None


def stopping(**changes: object) -> Differentiable:
    return Differentiable.model_validate(
        {"method": "RobustDARTS", "epochs": 12, "batch_size": 8, "architecture_learning_rate": "0.1",
         "eigenvalue_stop": {"ratio": "0.01", "window": 1, "grace_epochs": 1}, **changes}
    )  # fmt: skip


def test_a_search_ends_early_with_the_architecture_of_then_also_after_a_resume() -> None:
    """Any ratio is above 0.01, so that it ends in the sixth epoch and goes back to the second."""
    training, derived = bilevel(stopping(), images=16), []
    while training.epoch < training.epochs:
        report = training.run_epoch(lambda: False)
        assert report is not None
        assert report.eigenvalue is not None
        derived.append(training._relaxed.architecture())
    assert (training.epoch, training.epochs) == (6, 6)
    assert training.architecture() == derived[1]
    assert training.candidates() == (derived[1],)
    resumed = bilevel(stopping(), images=16)
    identity = Identity("a", "b", "c")
    resumed.load(decode(encode(training.state(), identity), identity))
    assert (resumed.epoch, resumed.epochs) == (6, 6)
    assert resumed.architecture() == derived[1]


def test_a_search_whose_curvature_does_not_rise_goes_to_the_end() -> None:
    training = bilevel(
        stopping(epochs=7, eigenvalue_stop={"ratio": "1000000", "window": 1, "grace_epochs": 1}), images=16
    )
    while training.epoch < training.epochs:
        training.run_epoch(lambda: False)
    assert training.epoch == 7
    assert training.architecture() == training._relaxed.architecture()


def test_watching_changes_nothing_of_the_search() -> None:
    watched, plain = (
        bilevel(stopping(epochs=1), images=16),
        bilevel(
            Differentiable(method="DARTS", order="First", epochs=1, batch_size=8, architecture_learning_rate="0.1"),
            images=16,
        ),
    )
    for training in (watched, plain):
        training.run_epoch(lambda: False)
    state, expected = watched.state()[0], plain.state()[0]
    assert [name for name in expected if not torch.equal(state[name], expected[name])] == []


def test_eigenvalues_of_another_search_are_refused() -> None:
    training = bilevel(stopping(), images=16)
    tensors, place = training.state()
    for wrong in (None, [{"eigenvalue": "1"}], [3]):
        with pytest.raises(ValueError, match="eigenvalues must be those of epochs, but got"):
            bilevel(stopping(), images=16).load((tensors, {**place, "eigenvalues": wrong}))


def test_curvature_that_is_no_number_ends_the_search() -> None:
    """The loss of the last batch of the network weights is still one; that of the architecture's half is not."""
    training = bilevel(stopping(warmup_percent=90), images=16)
    training.run_epoch(lambda: False)
    half = training._halves._splits["Architecture"]
    training._halves._data = halves(
        16, lambda images: plainly(images) * (math.nan if any((images[0] == o).all() for o in half.inputs) else 1)
    )
    with pytest.raises(Diverged, match="the Hessian's eigenvalue of epoch 2 is nan"):
        training.run_epoch(lambda: False)
