"""What must hold of every differentiable method: it learns, it can be interrupted, and it moves only what it should."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from archsearch.api.differentiable import Differentiable
from archsearch.evaluation import Diverged
from archsearch.evaluation.shared import evaluate_shared
from archsearch.supernets.bilevel import Bilevel
from tests.supernets.methods import NB201, SAMPLED, every_method, finish, settings
from tests.supernets.tiny import DIGITS, SPACE, bilevel, search


@every_method
def test_the_loss_falls_and_the_supernet_runs_what_is_derived(variant: dict[str, object]) -> None:
    """The smallest NAS-Bench-201 network on digits; the accuracy is one-shot, where one in ten would be chance."""
    epochs = 18 if variant["method"] in SAMPLED else 9 if variant["method"] in ("PDARTS", "SNAS", "FBNet") else 4
    chosen = settings(
        variant, NB201, epochs=epochs, batch_size=32, learning_rate="0.1", architecture_learning_rate="0.003"
    )
    training = search(chosen, space=NB201, images=128)
    losses = [report.loss for report in finish(training)]
    last = losses[:3] if variant["method"] == "PDARTS" else losses[:epochs]  # of the first stage, or of the search
    assert min(last[-2:]) < 0.94 * losses[0]
    assert all(math.isfinite(loss) for loss in losses)
    for architecture in training.candidates():
        assert NB201.architecture(architecture.values) == architecture
    calibration = DIGITS.weights.first(128)
    before = {name: weight.detach().clone() for name, weight in training.network.named_parameters()}
    values = evaluate_shared(
        training.network, training.architecture(), DIGITS, calibration=calibration, selection=DIGITS.selection
    )
    assert 0 <= values["accuracy"] <= 1
    assert math.isfinite(values["loss"])
    assert all(torch.equal(weight, before[name]) for name, weight in training.network.named_parameters())


@every_method
def test_each_half_of_a_step_moves_its_own_weights_and_no_other(variant: dict[str, object]) -> None:
    """To the bit, in the middle of a search."""
    chosen = settings(variant, SPACE, epochs=4, batch_size=8, warmup_percent=0, stages=[])
    training = bilevel(chosen)
    training.run_epoch(lambda: False)
    for step in range(2):
        weights, architecture = (training._halves.take(half, 1, step) for half in ("Weights", "Architecture"))  # type: ignore[arg-type]
        network, alphas = _copies(training)
        training.step_architecture(weights, architecture)
        assert _changed(network, dict(training.network.state_dict())) == set()
        assert _changed(alphas, training.alphas) != set()
        alphas = {name: alpha.detach().clone() for name, alpha in training.alphas.items()}
        training.step_weights(weights)
        assert _changed(alphas, training.alphas) == set()
        assert _changed(network, dict(training.network.state_dict())) != set()
        assert all(tensor.grad is None for tensor in (*training.alphas.values(), *training.network.parameters()))


def _copies(training: Bilevel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    network = {name: value.clone() for name, value in training.network.state_dict().items()}
    return network, {name: alpha.detach().clone() for name, alpha in training.alphas.items()}


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("variant", [{"method": "PCDARTS"}, {"method": "FBNet"}, {"method": "ProxylessNAS"}], ids=str)
def test_architecture_weights_rest_while_the_network_warms_up(variant: dict[str, object]) -> None:
    training = bilevel(settings(variant, SPACE, epochs=10, batch_size=8, architecture_every=1))
    start = {name: alpha.detach().clone() for name, alpha in training.alphas.items()}
    warm = {"PCDARTS": 3, "FBNet": 1, "ProxylessNAS": 2}[str(variant["method"])]
    for _ in range(warm):
        training.run_epoch(lambda: False)
    assert _changed(start, training.alphas) == set()
    training.run_epoch(lambda: False)
    assert _changed(start, training.alphas) != set()


def test_the_architecture_moves_after_every_so_many_steps_across_epochs() -> None:
    training = bilevel(Differentiable(method="ProxylessNAS", epochs=4, batch_size=8, warmup_percent=0))
    moved = []
    step_architecture = training.step_architecture

    def counting(*batches: object) -> None:
        moved.append(training.epoch * training.steps + training.step)
        step_architecture(*batches)  # type: ignore[arg-type]

    training.step_architecture = counting  # type: ignore[method-assign]
    finish(training)
    assert training.steps == 3
    assert moved == [0, 5, 10]


@every_method
def test_a_loss_that_is_no_number_ends_every_search_and_says_what_to_lower(variant: dict[str, object]) -> None:
    chosen = settings(variant, NB201, epochs=3, batch_size=12, learning_rate="100000000", gradient_clip="100000000")
    training = search(chosen, space=NB201, images=40)
    with pytest.raises(Diverged, match=r"the search diverged: the loss of epoch \d is (nan|inf); lower"):
        finish(training)


def test_reinforce_has_on_average_the_gradient_of_the_expected_loss() -> None:
    """On one choice whose five losses are known: over draws, and whatever the baseline."""
    training = bilevel(Differentiable(method="ProxylessNAS", mixing="OnePath", batch_size=8, epochs=1))
    relaxed, name = training._relaxed, "normal/0/0"
    losses = torch.tensor([1.0, 3.0, 2.0, 5.0, 0.5])
    relaxed.operations = {name: relaxed.alphas[name]}
    relaxed.task_loss = lambda batch, mix, place: losses[mix[name].active[0]]  # type: ignore[assignment, misc, union-attr]
    with torch.no_grad():
        relaxed.alphas[name].copy_(torch.tensor([0.5, -0.2, 0.1, -0.6, 0.3]))
    alpha = relaxed.alphas[name]
    (expected,) = torch.autograd.grad(torch.softmax(alpha, 0) @ losses, alpha)
    total, draws = torch.zeros(5), 6000
    for step in range(draws):
        relaxed.baseline = torch.tensor(2.0, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(relaxed.architecture_loss(None, (0, step)), alpha)  # type: ignore[arg-type]
        total += gradient / draws
    torch.testing.assert_close(total, expected, rtol=0, atol=0.04)
    assert float(expected.abs().max()) > 0.2
