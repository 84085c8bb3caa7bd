"""Scores at initialisation: each against its own mathematics, computed another way, and what all of them promise."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.api.evaluation import ScoreName
from archsearch.api.signature import image_signature
from archsearch.api.task import Dataset, ImageClassification, Task
from archsearch.evaluation.zero_cost import JITTER, SCORES, WORST, Batches, score
from archsearch.hardware import count
from archsearch.networks import network
from archsearch.spaces import Space, space_of
from archsearch.spaces.nasbench201 import from_string
from archsearch.tasks import load
from benchmarks.zero_cost import interval, kendall, read_table, spearman

DATA = Path(os.environ.get("ARCHSEARCH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
NB201 = space_of(SpaceSpec(nas_bench201=NasBench201.model_validate({"search": {"channels": 4, "cells": 1}})))
CHAIN = {"stem": {"channels": 8}, "headChannels": 16, "search": {"widthPercent": 100}}
SPACES = [NB201] + [
    space_of(SpaceSpec.model_validate(spec))
    for spec in (
        {"dartsCells": {"search": {"channels": 4, "cells": 3}}},
        {"nasnetCells": {"nodes": 3, "search": {"channels": 4, "cells": 3}}},
        {"enasMacro": {"layers": 4, "search": {"channels": 4}}},
        {"mbconvChain": CHAIN | {"stages": [{"channels": 8, "layers": 3, "stride": 2}]}},
        {"elasticChain": CHAIN | {"stages": [{"channels": 8, "stride": 2}]}},
    )
]
NAMES: tuple[ScoreName, ...] = get_args(ScoreName)
every_score = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def digits() -> Batches:
    data = load(Task(image_classification=ImageClassification(dataset=Dataset(builtin="digits"))), None)
    batches = [data.prepare(data.weights.at(slice(first, first + 16))) for first in (0, 16)]
    return [(batch.inputs, batch.targets) for batch in batches]


def some_batches(number: int = 2, size: int = 6) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 2, 4, 4, generator=generator).double(), torch.randint(3, (size,), generator=generator))
        for _ in range(number)
    ]


def convolutional(norm: bool = True) -> nn.Sequential:
    """With everything that has a part in a score or must not have one: biases, batch statistics, dropout."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(0.5),
        nn.Conv2d(3, 4, 3, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3),
    ).double()  # fmt: skip


def linear(*sizes: int, bias: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(a, b, bias=bias) for a, b in pairwise(sizes)]
    return nn.Sequential(nn.Flatten(), *layers).double()


def weight_gradients(built: nn.Sequential, batches: Batches) -> list[tuple[Tensor, Tensor]]:
    """The weights of the convolutions and linear layers with the gradients of the mean loss, by plain backward."""
    without_dropout = nn.Sequential(*(layer for layer in copy.deepcopy(built) if not isinstance(layer, nn.Dropout)))
    without_dropout.train().zero_grad()
    losses = [functional.cross_entropy(without_dropout(images), labels) for images, labels in batches]
    torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
    layers = [layer for layer in without_dropout if isinstance(layer, nn.Conv2d | nn.Linear)]
    found = [(layer.weight.detach(), layer.weight.grad) for layer in layers]
    return [(weight, gradient) for weight, gradient in found if gradient is not None]


def test_grad_norm_and_snip_are_sums_over_the_gradients_of_the_mean_loss() -> None:
    batches = some_batches()
    pairs = weight_gradients(convolutional(), batches)
    assert len(pairs) == 3
    norms = sum(math.sqrt(float((gradient**2).sum())) for _, gradient in pairs)
    assert score("gradNorm", convolutional(), batches) == pytest.approx(norms, rel=1e-12)
    saliency = sum(float((weight * gradient).abs().sum()) for weight, gradient in pairs)
    assert score("snip", convolutional(), batches) == pytest.approx(saliency, rel=1e-12)
    assert norms != pytest.approx(saliency, rel=0.01)


def test_grasp_is_how_fast_the_squared_gradient_grows_when_all_weights_shrink() -> None:
    batches = some_batches()

    def half_squared_norm(scale: float) -> float:
        scaled = convolutional()
        with torch.no_grad():
            for layer in scaled:
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    layer.weight.mul_(scale)
        return sum(float((gradient**2).sum()) for _, gradient in weight_gradients(scaled, batches)) / 2

    step = 1e-5  # the derivative of |g|^2 / 2 along w is w'Hg
    derivative = (half_squared_norm(1 + step) - half_squared_norm(1 - step)) / (2 * step)
    found = score("grasp", convolutional(), batches)
    assert found == pytest.approx(-derivative, rel=1e-6)
    assert abs(found) > 1e-3


def test_synflow_of_linear_layers_counts_every_path_once_a_layer() -> None:
    built = linear(32, 5, 4, 3)
    first, second, third = (layer.weight.detach().abs() for layer in built[1:])  # type: ignore[operator]
    paths = float((third @ second @ first).sum())
    assert score("synflow", built, some_batches()) == pytest.approx(math.log1p(3 * paths), rel=1e-12)


def test_synflow_sees_no_normalisation_and_no_image() -> None:
    plain, normalised = convolutional(norm=False), convolutional()
    batches, others = some_batches(), [(images + 1, labels) for images, labels in some_batches()]
    assert score("synflow", plain, batches) == score("synflow", normalised, others) > 0


def test_fisher_of_a_linear_layer_follows_from_its_logits() -> None:
    built, batches = linear(32, 3), some_batches()
    expected = 0.0
    for images, labels in batches:
        logits = built(images).detach()
        gradient = (logits.softmax(1) - functional.one_hot(labels, 3)) / len(images)
        expected += float(((logits * gradient) ** 2).sum(1).mean()) / 2 / len(batches)
    assert score("fisher", built, batches) == pytest.approx(expected, rel=1e-12)


def test_fisher_adds_up_a_channel_before_it_squares() -> None:
    (images, labels), built = some_batches(1)[0], convolutional(norm=False)
    outputs, x = [], images
    for layer in built:
        if not isinstance(layer, nn.Dropout):
            x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            x.retain_grad()
            outputs.append(x)
    functional.cross_entropy(x, labels).backward()  # type: ignore[no-untyped-call]
    expected = 0.0
    for output in outputs:
        assert output.grad is not None
        for image in range(len(images)):
            for channel in range(output.shape[1]):
                saliency = float((output.detach() * output.grad)[image, channel].sum())
                expected += saliency**2 / 2 / len(images)
    assert score("fisher", built, [(images, labels)]) == pytest.approx(expected, rel=1e-12)


def test_fisher_looks_at_outputs_before_what_works_in_place() -> None:
    torch.manual_seed(0)
    apart = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)).double()
    in_place = copy.deepcopy(apart)
    in_place[1] = nn.ReLU(inplace=True)
    assert score("fisher", in_place, some_batches()) == score("fisher", apart, some_batches())
    assert in_place[1].inplace


def test_jacob_cov_is_that_of_the_gradients_of_single_images() -> None:
    built, batches = convolutional(norm=False), some_batches()
    built.eval()
    expected = []
    for images, _ in batches:
        rows = []
        for image in images:
            single = image[None].clone().requires_grad_()
            built(single).sum().backward()
            assert single.grad is not None
            rows.append(single.grad.flatten().numpy())
        values = np.linalg.eigvalsh(np.corrcoef(np.stack(rows))) + JITTER
        expected.append(-np.sum(np.log(values) + 1 / values))
    assert score("jacobCov", built, batches) == pytest.approx(np.mean(expected), rel=1e-8)


def test_jacob_cov_of_a_linear_network_is_that_of_images_which_are_all_alike() -> None:
    apart = [6 + JITTER, *[JITTER] * 5]  # six rows that are equal: one eigenvalue of 6
    expected = -sum(math.log(value) + 1 / value for value in apart)
    assert score("jacobCov", linear(32, 3), some_batches()) == pytest.approx(expected, rel=1e-6)


def kernel_by_hand(codes: list[list[bool]]) -> np.ndarray:
    return np.array([[sum(a == b for a, b in zip(one, other, strict=True)) for other in codes] for one in codes])


class Functional(nn.Module):
    """The same activation as a module and as a function."""

    def __init__(self, first: nn.Module, second: nn.Module, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.activation = first, second, activation

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.second(self.activation(self.first(x.flatten(1))))
        return logits


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU(inplace=True), functional.relu, torch.relu_, nn.ReLU6()])
def test_naswot_counts_the_units_in_which_two_images_agree(activation: Callable[[Tensor], Tensor]) -> None:
    layers = linear(32, 9, 3, bias=True)
    built, batches = Functional(layers[1], layers[2], activation), some_batches()
    expected = []
    for images, _ in batches:
        kernel = kernel_by_hand((layers[1](images.flatten(1)) > 0).tolist())
        assert kernel.diagonal().tolist() == [9] * 6
        expected.append(math.log(np.linalg.det(kernel + np.eye(6))))
    assert score("naswot", built, batches) == pytest.approx(np.mean(expected), rel=1e-9)


def test_naswot_is_finite_where_images_have_one_code_and_zero_without_relu() -> None:
    torch.manual_seed(0)
    built = nn.Sequential(nn.Flatten(), nn.Linear(32, 9), nn.ReLU(), nn.Linear(9, 3)).double()
    ((images, labels),) = some_batches(1)
    same = images[:1].expand(6, -1, -1, -1)
    # Nine units in which all six images agree: eigenvalues 6 x 9 and five times 0, to which 1 is added.
    assert score("naswot", built, [(same, labels)]) == pytest.approx(math.log(55), rel=1e-9)
    assert score("naswot", built, [(images, labels)]) > 2 * math.log(55)
    assert score("naswot", linear(32, 3), [(images, labels)]) == 0


def test_zico_is_the_logarithm_of_the_signal_to_noise_of_each_layer() -> None:
    batches = some_batches(3)
    each = [[gradient for _, gradient in weight_gradients(convolutional(), [batch])] for batch in batches]
    expected = 0.0
    for of_layer in zip(*each, strict=True):
        gradients = np.stack([gradient.numpy() for gradient in of_layer])
        expected += math.log(np.sum(np.abs(gradients).mean(0) / gradients.std(0)))
    assert score("zico", convolutional(), batches) == pytest.approx(expected, rel=1e-9)
    same = [batches[0], batches[0]]
    assert score("zico", convolutional(), same) == 0  # nothing varies


def test_zico_needs_two_batches_and_every_score_one() -> None:
    with pytest.raises(ValueError, match="at least 2 batches for zico, but got 1"):
        score("zico", convolutional(), some_batches(1))
    with pytest.raises(ValueError, match="at least 1 batch, but got 0"):
        score("snip", convolutional(), [])


def test_counts_are_the_baselines() -> None:
    built = network(NB201, NB201.at(7777), stack="search", signature=image_signature((2, 4, 4), 3))
    batches = [(images.float(), labels) for images, labels in some_batches()]
    assert (score("parameters", built, batches), score("flops", built, batches)) == count(
        built, torch.zeros(1, 2, 4, 4)
    )


@every_score
def test_the_network_is_left_as_it_was(name: ScoreName) -> None:
    built, calls = convolutional().float(), []
    built[1].eval()  # modes that differ, gradients, and a hook of somebody else's
    built[0].register_forward_hook(lambda *_: calls.append(1))
    for parameter in built.parameters():
        parameter.grad = torch.ones_like(parameter)
    built[4].weight.requires_grad_(False)
    before = {key: value.clone() for key, value in built.state_dict().items()}
    modules, generator = [(type(module), module.training) for module in built.modules()], torch.get_rng_state()
    batches = [(images.float(), labels) for images, labels in some_batches()]
    score(name, built, batches)
    assert all(torch.equal(value, before[key]) for key, value in built.state_dict().items())
    assert [(type(module), module.training) for module in built.modules()] == modules
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in built.parameters())  # type: ignore[arg-type]
    assert [parameter.requires_grad for parameter in built.parameters()].count(False) == 1
    assert [len(module._forward_hooks) for module in built.modules()] == [0, 1, *[0] * 7]
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(images.requires_grad for images, _ in batches)


@every_score
@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_networks_of_every_space_have_one_finite_score_on_real_images(
    name: ScoreName, space: Space, digits: Batches
) -> None:
    rng = np.random.default_rng(0)
    found = []
    for architecture in [space.sample(rng) for _ in range(2)]:
        torch.manual_seed(0)
        built = network(space, architecture, stack="search", signature=image_signature((1, 8, 8), 10))
        found.append(score(name, built, digits))
    assert all(math.isfinite(value) and value > WORST for value in found)
    assert len(set(found)) > 1
    with torch.no_grad():  # the same again, and under whatever mode the caller is in
        assert score(name, built, digits) == found[-1]


@every_score
def test_a_cell_that_lets_nothing_through_is_the_worst(name: ScoreName, digits: Batches) -> None:
    torch.manual_seed(0)
    dead, alive = (
        score(
            name,
            network(NB201, from_string(NB201, text), stack="search", signature=image_signature((1, 8, 8), 10)),
            digits,
        )
        for text in (
            "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
        )
    )
    assert math.isfinite(dead)
    assert dead < alive


@pytest.mark.parametrize("name", ["gradNorm", "snip", "grasp", "synflow", "fisher", "jacobCov", "zico"])
def test_what_overflows_has_the_worst_score(name: ScoreName) -> None:
    built = linear(32, 5, 3)
    with torch.no_grad():
        built[1].weight.fill_(math.nan)  # type: ignore[operator]
    assert score(name, built, some_batches()) == WORST


def test_the_table_has_every_score_of_the_api() -> None:
    assert tuple(SCORES) == NAMES


def test_rank_correlations_of_a_few_numbers_are_those_counted_by_hand() -> None:
    first, second = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 30.0, 20.0, 40.0])
    assert spearman(first, second) == pytest.approx(1 - 6 * 2 / (4 * 15))  # ranks differ by 0, 1, 1, 0
    assert kendall(first, second) == pytest.approx((5 - 1) / 6)
    tied = np.array([1.0, 1.0, 2.0, 3.0])  # ranks 0.5, 0.5, 2, 3
    assert spearman(first, tied) == pytest.approx(4.5 / math.sqrt(5 * 4.5))
    assert kendall(first, tied) == pytest.approx(5 / math.sqrt(6 * 5))
    assert spearman(first, -first) == pytest.approx(-1)
    assert kendall(first, -first) == pytest.approx(-1)
    assert spearman(first, np.ones(4)) == kendall(first, np.ones(4)) == 0


def test_an_interval_holds_what_draws_with_replacement_give() -> None:
    low, high = interval(lambda at: float((at < 50).mean()), 100)
    deviation = math.sqrt(0.25 / 100)
    assert low == pytest.approx(0.5 - 1.96 * deviation, abs=0.02)
    assert high == pytest.approx(0.5 + 1.96 * deviation, abs=0.02)


def test_scores_on_digits_rank_cells_as_their_accuracy_does_but_not_better_than_their_size(digits: Batches) -> None:
    table = DATA / "nasbench201" / "cifar10.csv.gz"
    if not table.exists():
        pytest.skip(f"the results of NAS-Bench-201 are not in {table}; ARCHSEARCH_DATA can name another place")
    rows = read_table(table)[::500]
    space = space_of(SpaceSpec(nas_bench201=NasBench201.model_validate({"search": {"channels": 16, "cells": 1}})))
    accuracy = np.array([value for _, value in rows])
    found: dict[str, list[float]] = {"naswot": [], "synflow": [], "parameters": []}
    for cell, _ in rows:
        torch.manual_seed(0)
        built = network(space, from_string(space, cell), stack="search", signature=image_signature((1, 8, 8), 10))
        for name, values in found.items():
            values.append(score(name, built, digits))  # type: ignore[arg-type]
    correlation = {name: spearman(np.array(values), accuracy) for name, values in found.items()}
    assert len(rows) == 32
    assert correlation["parameters"] == pytest.approx(0.738, abs=0.002)
    assert 0.55 < correlation["naswot"] < correlation["parameters"]
    assert 0.55 < correlation["synflow"] < correlation["parameters"]
