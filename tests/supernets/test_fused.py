"""The fused cells against the plain ones, which are their definition, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from archsearch.api import DartsCells
from archsearch.api import Space as SpaceSpec
from archsearch.api.differentiable import Differentiable
from archsearch.api.signature import image_signature
from archsearch.networks import Mix, Super, supernet
from archsearch.networks.darts import Cell, DartsNetwork
from archsearch.networks.fused import FusedCell, cell, convolutions, mixing, operations
from archsearch.networks.fused.convolutions import depthwise, depthwise_input_gradient, kernel_gradient
from archsearch.spaces import Space, space_of
from archsearch.spaces.darts import edge_name
from archsearch.supernets import Bilevel, Recipe
from archsearch.supernets.gradients import batch_norms, batch_statistics, first_order, frozen
from archsearch.supernets.progressive import reduced
from tests.supernets.tiny import CLASSES, SHAPE, exactly, halves

WEIGHTLESS = ("skip_connect", "avg_pool_3x3", "max_pool_3x3")
SETTINGS: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "all operations": ({"nodes": 4, "search": {"channels": 2, "cells": 3}}, (3, 8, 8)),
    "two nodes": ({"nodes": 2, "search": {"channels": 2, "cells": 4}}, (1, 8, 8)),
    "odd maps": ({"nodes": 2, "search": {"channels": 4, "cells": 3}}, (3, 9, 9)),
    "maps that are not square": ({"nodes": 3, "search": {"channels": 2, "cells": 3}}, (1, 12, 10)),
    "one node and two operations": (
        {"nodes": 1, "operations": ("none", "dil_conv_5x5"), "search": {"channels": 2, "cells": 3}}, (3, 8, 8),
    ),
    "no weights": ({"nodes": 2, "operations": WEIGHTLESS, "search": {"channels": 2, "cells": 3}}, (1, 7, 8)),
    "all operations, wide cells": ({"nodes": 3, "search": {"channels": 18, "cells": 3}}, (1, 8, 8)),
    "many nodes, wide cells": (
        {"nodes": 7, "operations": ("sep_conv_5x5", "none"), "search": {"channels": 18, "cells": 3}}, (1, 6, 8),
    ),
}  # fmt: skip
settings = pytest.mark.parametrize(("cells", "shape"), SETTINGS.values(), ids=SETTINGS)


def space_with(cells: dict[str, Any]) -> Space:
    return space_of(SpaceSpec(darts_cells=DartsCells.model_validate(cells)))


def built(space: Space, shape: tuple[int, int, int], kind: type[Cell], **options: Any) -> DartsNetwork:
    torch.manual_seed(0)
    of: Any = space.settings
    return DartsNetwork(
        Super(space, **options), of, of.search, signature=image_signature(shape, CLASSES), affine=False, cell=kind
    ).double()


def both(space: Space, shape: tuple[int, int, int], **options: Any) -> tuple[DartsNetwork, DartsNetwork]:
    """Plain and fused, with the same weights."""
    plain, fused = built(space, shape, Cell, **options), built(space, shape, FusedCell, **options)
    return plain, fused


def mix_of(space: Space, *, inputs: bool = False) -> dict[str, Tensor]:
    """Any numbers, not only those that add up to one; one of each edge's is zero."""
    noise = torch.Generator().manual_seed(1)
    mix = {}
    for choice in space.choices:
        if not choice.is_subset or inputs:
            count = 1 + max(max(option) for option in choice.options) if choice.is_subset else len(choice.alternatives)
            mix[choice.name] = torch.randn(count, dtype=torch.float64, generator=noise)
            mix[choice.name][0] = 0
            mix[choice.name].requires_grad_()
    return mix


def batch_of(shape: tuple[int, int, int], images: int = 3) -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(2)
    drawn = torch.randn(images, *shape, dtype=torch.float64, generator=noise)
    return drawn, torch.randint(CLASSES, (images,), generator=noise)


def loss_of(network: DartsNetwork, batch: tuple[Tensor, Tensor], mix: Mix) -> Tensor:
    return functional.cross_entropy(network(batch[0], mix), batch[1])


def assert_same(found: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each cell that was run at once."""
    seen: list[int] = []
    statistics = cell.Statistics

    def count(*arguments: Any) -> Any:
        seen.append(1)
        return statistics(*arguments)

    monkeypatch.setattr(cell, "Statistics", count)
    return seen


@settings
def test_loss_gradients_and_running_statistics_are_those_of_the_plain_cells(
    cells: dict[str, Any], shape: tuple[int, int, int], calls: list[int]
) -> None:
    space, batch = space_with(cells), batch_of(shape)
    plain, fused = both(space, shape)
    found = []
    for network in (plain, fused):
        mix = mix_of(space)
        loss = loss_of(network, batch, mix)
        found.append([loss, *torch.autograd.grad(loss, [*mix.values(), *network.parameters()])])
    assert len(calls) == len(fused.cells)
    for expected, got in zip(*found, strict=True):
        assert_same(got, expected)
    for name, buffer in plain.state_dict().items():
        assert_same(fused.state_dict()[name], buffer)


def test_cells_without_anything_to_normalise_are_computed_plainly() -> None:
    space = space_with({"nodes": 2, "operations": ("skip_connect", "none"), "search": {"channels": 2, "cells": 3}})
    batch, mix = batch_of((1, 8, 8)), mix_of(space)
    plain, fused = (loss_of(network, batch, mix) for network in both(space, (1, 8, 8)))
    assert_same(fused, plain)


def test_the_weights_of_inputs_count() -> None:
    space, batch = space_with(SETTINGS["two nodes"][0]), batch_of((1, 8, 8))
    found = []
    for network in both(space, (1, 8, 8)):
        mix = mix_of(space, inputs=True)
        found.append(torch.autograd.grad(loss_of(network, batch, mix), list(mix.values())))
    for expected, got in zip(*found, strict=True):
        assert_same(got, expected)


def test_edges_may_have_different_operations(calls: list[int]) -> None:
    # As in the later stages of P-DARTS.
    space, batch = space_with(SETTINGS["all operations"][0]), batch_of((3, 8, 8))
    fewer = {
        edge_name("normal", 2, 1): ("skip_connect", "sep_conv_3x3"),
        edge_name("normal", 3, 1): ("max_pool_3x3", "dil_conv_5x5"),
    }
    every = {choice.name: choice.alternatives for choice in space.choices if not choice.is_subset}
    space = reduced(space, every | fewer, 100)
    found = []
    for network in both(space, (3, 8, 8)):
        mix = mix_of(space)
        loss = loss_of(network, batch, mix)
        found.append(torch.autograd.grad(loss, [*mix.values(), *network.parameters()]))
    assert calls
    for expected, got in zip(*found, strict=True):
        assert_same(got, expected)


def test_the_names_are_those_of_the_plain_network_and_so_are_initial_weights() -> None:
    space = space_with(SETTINGS["all operations"][0])
    plain, fused = both(space, (3, 8, 8))
    torch.manual_seed(0)
    ours = supernet(space, signature=image_signature((3, 8, 8), CLASSES)).double().state_dict()
    assert list(plain.state_dict()) == list(fused.state_dict()) == list(ours)
    assert all(torch.equal(value, ours[name]) for name, value in plain.state_dict().items())


def test_a_tiny_cell_has_the_gradient_of_finite_differences() -> None:
    cells = {"nodes": 2, "operations": ("skip_connect", "avg_pool_3x3", "sep_conv_3x3", "dil_conv_5x5")}
    space = space_with(cells | {"search": {"channels": 2, "cells": 3}})
    fused = built(space, (1, 4, 4), FusedCell)
    first = fused.cells[0]
    noise = torch.Generator().manual_seed(3)
    states = [torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=noise).requires_grad_() for _ in range(2)]
    mix = mix_of(space)
    names = list(mix)

    def nodes(before_previous: Tensor, previous: Tensor, *weights: Tensor) -> Tensor:
        output: Tensor = first.nodes([before_previous, previous], dict(zip(names, weights, strict=True)))
        return output

    # Asked for a gradient a second time, the cell computes it plainly: equal but for the rounding.
    assert torch.autograd.gradcheck(nodes, (*states, *mix.values()), nondet_tol=1e-12)
    weight = fused.cells[0].edges["1/0"]["sep_conv_3x3"][1].weight  # type: ignore[index]
    direction, step = torch.randn(weight.shape, dtype=torch.float64, generator=noise), 1e-6
    (gradient,) = torch.autograd.grad(nodes(*states, *mix.values()).square().sum(), weight)
    sides = []
    for side in (step, -step):
        with torch.no_grad():
            weight += side * direction
            sides.append(float(nodes(*states, *mix.values()).square().sum()))
            weight -= side * direction
    assert float((gradient * direction).sum()) == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (12, 4), (9, 8), (6, 10), (7, 7), (2, 4)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_depthwise_gradients_are_those_of_autograd(
    size: tuple[int, int], stride: int, dilation: int, kernel: int
) -> None:
    noise = torch.Generator().manual_seed(4)
    x = torch.randn(2, 6, *size, dtype=torch.float64, generator=noise).requires_grad_()
    weight = torch.randn(6, 1, kernel, kernel, dtype=torch.float64, generator=noise).requires_grad_()
    x_last = x.detach().contiguous(memory_format=torch.channels_last)
    output = functional.conv2d(x, weight, None, stride, dilation * (kernel // 2), dilation, groups=6)
    assert_same(depthwise(x_last, weight.detach(), stride, dilation), output.detach())
    gradient = torch.randn(output.shape, dtype=torch.float64, generator=noise)
    by_x, by_weight = torch.autograd.grad(output, [x, weight], gradient)
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    assert_same(depthwise_input_gradient(gradient, weight.detach(), x_last, stride, dilation), by_x)
    assert_same(kernel_gradient(x_last, gradient, kernel, stride, dilation), by_weight)


@pytest.mark.parametrize("dilation", [1, 2])
def test_an_input_gradient_is_added_to_what_is_there(dilation: int) -> None:
    noise = torch.Generator().manual_seed(4)
    gradient, total = (
        torch.randn(2, 6, 8, 8, generator=noise).contiguous(memory_format=torch.channels_last) for _ in range(2)
    )
    kernel = torch.randn(6, 1, 5, 5, generator=noise)
    alone = depthwise_input_gradient(gradient, kernel, gradient, 1, dilation)
    expected = total + alone
    assert_same(depthwise_input_gradient(gradient, kernel, gradient, 1, dilation, total), expected, 1e-5)
    assert_same(total, expected, 1e-5)


@pytest.mark.parametrize("order", ["First", "Second"])
def test_two_steps_of_a_search_are_those_of_the_plain_cells(order: str, calls: list[int]) -> None:
    space = space_with({"nodes": 2, "search": {"channels": 2, "cells": 3}})
    recipe = Recipe.of(Differentiable.model_validate({"order": order, "batchSize": 8, "epochs": 2}))
    states = []
    for network in both(space, SHAPE):
        search = Bilevel(space, network, halves(16, exactly), recipe, seed=3)
        assert search.run_epoch(lambda: False) is not None
        states.append(search.state()[0])
    assert len(calls) == 3 * 2 * (2 if order == "First" else 5)
    assert any("running_var" in name for name in states[0])
    for name, expected in states[0].items():
        assert_same(states[1][name], expected, 1e-9)


@pytest.mark.parametrize("case", ["two nodes", "many nodes, wide cells"])
def test_only_the_gradients_that_are_asked_for_are_computed(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixings, gradients, of_kernel = [], [], convolutions.kernel_gradient

    def noting(*arguments: Any) -> Any:
        mixings.append(mixing.mix(*arguments))
        return mixings[-1]

    def noting_kernel(*arguments: Any) -> Tensor:
        gradients.append(1)
        return of_kernel(*arguments)

    def keeps(each: Any) -> bool:
        return each.keeps if isinstance(each, mixing.Folded) else each.x is not None

    monkeypatch.setattr(operations, "mix", noting)
    monkeypatch.setattr(convolutions, "kernel_gradient", noting_kernel)
    cells, shape = SETTINGS[case]
    space, batch = space_with(cells), batch_of(shape)
    fused, mix = built(space, shape, FusedCell), mix_of(space)
    first_order(lambda: loss_of(fused, batch, mix), list(mix.values()), list(fused.parameters()))
    assert {type(each) for each in mixings} >= {mixing.Folded if case == "two nodes" else mixing.Apart}
    assert not gradients
    assert not any(keeps(each) for each in mixings)
    mixings.clear()
    with frozen(list(mix.values())):
        loss_of(fused, batch, mix).backward()  # type: ignore[no-untyped-call]
    assert all(keeps(each) for each in mixings)
    assert len(gradients) == len(mixings)
    assert all(weights.grad is None for weights in mix.values())


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_states_without_variance_are_normalised_as_by_the_plain_cell(level: float) -> None:
    space = space_with({"nodes": 2, "search": {"channels": 4, "cells": 3}})
    mix = {name: weights for name, weights in mix_of(space).items() if name.startswith("normal/")}
    states, found = torch.full((3, 4, 8, 8), level, dtype=torch.float64), []
    for network in both(space, (1, 8, 8)):
        output = network.cells[0].nodes([states, states], mix)
        found.append([output, *torch.autograd.grad(output.sin().sum(), list(mix.values()))])
    for expected, got in zip(*found, strict=True):
        assert_same(got, expected, 1e-7)


def test_a_gradient_can_be_differentiated_again() -> None:
    space, batch = space_with(SETTINGS["two nodes"][0]), batch_of((1, 8, 8))
    found = []
    for network in both(space, (1, 8, 8)):
        mix = mix_of(space)
        before = {name: buffer.clone() for name, buffer in network.named_buffers()}
        with batch_statistics(batch_norms(network)):
            gradients = torch.autograd.grad(loss_of(network, batch, mix), list(mix.values()), create_graph=True)
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            every = [*mix.values(), *network.parameters()]
            found.append(torch.autograd.grad(flat.square().sum(), every, retain_graph=True))
            torch.autograd.grad(flat.sum(), list(mix.values()))
        assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    for expected, got in zip(*found, strict=True):
        assert_same(got, expected, 1e-9)


def test_a_graph_that_is_kept_gives_its_gradient_twice() -> None:
    space, batch = space_with(SETTINGS["two nodes"][0]), batch_of((1, 8, 8))
    fused, mix = built(space, (1, 8, 8), FusedCell), mix_of(space)
    loss = loss_of(fused, batch, mix)
    once, again = (torch.autograd.grad(loss, list(mix.values()), retain_graph=True) for _ in range(2))
    for first, second in zip(once, again, strict=True):
        assert_same(second, first)


@pytest.mark.parametrize("case", ["evaluation", "one path", "partial channels", "auxiliary skip"])
def test_what_cannot_be_fused_is_computed_plainly(case: str, calls: list[int]) -> None:
    space, batch = space_with({"nodes": 2, "search": {"channels": 4, "cells": 3}}), batch_of((1, 8, 8))
    options = {"partial channels": {"partial_channels": 2}, "auxiliary skip": {"auxiliary_skip": True}}.get(case, {})
    plain, fused = both(space, (1, 8, 8), **options)
    mix: Mix = space.at(5).values if case == "one path" else mix_of(space)
    outputs = [network.train(case != "evaluation")(batch[0], mix) for network in (plain, fused)]
    assert not calls
    assert torch.equal(*outputs)
