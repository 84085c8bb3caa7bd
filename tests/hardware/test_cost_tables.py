"""Costs as sums over choices: right on an architecture, right as an expectation, and differentiable."""

from __future__ import annotations

import itertools
from importlib import import_module
from importlib.resources import files

import numpy as np
import pytest
import torch
from torch import Tensor

from archsearch.api import DartsCells, MbconvChain, NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.api.search import Profile
from archsearch.api.signature import image_signature
from archsearch.hardware.costs import CostTable, fit
from archsearch.hardware.paced import Paced
from archsearch.spaces import Architecture, Choice, Space, space_of
from archsearch.work.context import static_cost

SMALL = {"search": {"channels": 4, "cells": 1}, "final": {"channels": 8, "cells": 1}}
NB201 = space_of(SpaceSpec(nas_bench201=NasBench201.model_validate(SMALL)))
CHAIN = Space(
    "chain",
    (
        Choice("depth", (1, 2, 3)),
        Choice("0", ("a", "b")),
        Choice("1", ("a", "b", "skip"), when=(("depth", 2), ("depth", 3))),
        Choice("2", ("a", "b"), when=(("depth", 3),)),
    ),
    NasBench201(),
)
WORTH = {"a": 1.0, "b": 2.5, "skip": 0.0}


def chain_cost(architecture: Architecture) -> float:
    return 0.5 + sum(WORTH[value] for value in architecture.values.values() if isinstance(value, str))


def table() -> CostTable:
    return fit(CHAIN, chain_cost, 200, metric="latencyMs", shape=(1, 8, 8))


def test_a_sum_over_choices_is_found_again() -> None:
    found = table()
    assert found.error < 1e-4
    for index in range(CHAIN.size()):
        assert found.of(CHAIN.at(index)) == pytest.approx(chain_cost(CHAIN.at(index)), abs=1e-3)


def test_the_expectation_is_the_mean_over_all_architectures_weighted_by_their_probability() -> None:
    found = table()
    generator = torch.Generator().manual_seed(0)
    mix = {c.name: torch.softmax(torch.randn(len(c.options), generator=generator).double(), 0) for c in CHAIN.choices}
    total, weight = 0.0, 0.0
    for options in itertools.product(*(range(len(choice.options)) for choice in CHAIN.choices)):
        values = {choice.name: choice.options[at] for choice, at in zip(CHAIN.choices, options, strict=True)}
        chance = float(np.prod([float(mix[c.name][at]) for c, at in zip(CHAIN.choices, options, strict=True)]))
        total, weight = total + chance * found.of(CHAIN.architecture(values)), weight + chance
    assert weight == pytest.approx(1)
    assert float(found.expected(CHAIN, mix)) == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("space", [CHAIN, NB201], ids=["conditional", "nasbench201"])
def test_the_expectation_at_certainty_is_the_cost_of_the_architecture(space: Space) -> None:
    rng = np.random.default_rng(1)
    found = fit(space, lambda a: float(int(a.id, 16) % 97), 60, metric="latencyMs", shape=(1, 8, 8))
    for _ in range(5):
        architecture = space.sample(rng)
        assert float(found.expected(space, architecture.values)) == pytest.approx(found.of(architecture), rel=1e-5)


def test_the_gradient_of_the_expectation_is_that_of_finite_differences() -> None:
    found = table()
    alphas = {c.name: torch.randn(len(c.options), dtype=torch.float64, requires_grad=True) for c in CHAIN.choices}

    def expected(*values: Tensor) -> Tensor:
        return found.expected(CHAIN, {name: torch.softmax(v, 0) for name, v in zip(alphas, values, strict=True)})

    assert torch.autograd.gradcheck(expected, tuple(alphas.values()))


def test_parameters_and_flops_of_real_networks_are_sums_over_choices() -> None:
    # What is kept is shared between operations that read the same map: no exact sum.
    for metric, off in (("parameters", 1e-3), ("flops", 1e-3), ("activationMiB", 0.1)):

        def cost(architecture: Architecture, metric: str = metric) -> float:
            return static_cost(NB201, architecture, "final", image_signature((1, 8, 8), 10))[metric]

        found = fit(NB201, cost, 60, metric=metric, shape=(1, 8, 8))
        assert found.error < off
        other = NB201.sample(np.random.default_rng(5))
        assert found.of(other) == pytest.approx(cost(other), rel=2 * off)


def test_inputs_that_the_mix_does_not_weigh_count_with_the_share_of_sets_that_have_them() -> None:
    space = space_of(SpaceSpec(darts_cells=DartsCells(nodes=2, operations=("skip_connect", "sep_conv_3x3", "none"))))
    # Each edge that is kept costs 1: two a node, two nodes, two cells, whatever is chosen.
    costs = {
        c.name: {str(o).replace("(", "[").replace(")", "]") if c.is_subset else f'"{o}"': float(not c.is_subset)
                 for o in c.options}
        for c in space.choices
    }  # fmt: skip
    found = CostTable(
        metric="flops", space=space.hash(), shape=(1, 8, 8), networks=0, error=0.0, fixed=0.0, costs=costs
    )
    assert found.of(space.sample(np.random.default_rng(0))) == 8
    mix = {c.name: torch.tensor([0.5, 0.5, 0.0]) for c in space.choices if not c.is_subset}
    assert float(found.expected(space, mix)) == pytest.approx(8)


def test_a_table_of_another_space_says_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="the table of latencyMs must have cell/1/0"):
        table().of(NB201.at(0))


def test_too_few_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="networks must be at least 10, but got 9"):
        fit(CHAIN, chain_cost, 9, metric="latencyMs", shape=(1, 8, 8))


FBNET = {
    "stem": {"channels": 16},
    "stages": [
        {"channels": channels, "layers": layers, "stride": stride}
        for channels, layers, stride in zip(
            (16, 24, 32, 64, 112, 184, 352), (1, 4, 4, 4, 4, 4, 1), (1, 1, 2, 2, 1, 2, 1), strict=True
        )
    ],
    "headChannels": 1504,
    "blocks": ["k3e1", "k3e1g2", "k3e3", "k3e6", "k5e1", "k5e1g2", "k5e3", "k5e6"],
}


def test_the_shipped_table_is_of_the_space_that_the_docs_name_and_covers_it() -> None:
    file = files("archsearch.hardware") / "tables" / "raspberry-pi-4-fbnet-32.json"
    table = CostTable.model_validate_json(file.read_text())
    space = space_of(SpaceSpec(mbconv_chain=MbconvChain.model_validate(FBNET)))
    assert table.space == space.hash()
    assert {name: len(costs) for name, costs in table.costs.items()} == {c.name: len(c.options) for c in space.choices}
    chosen = space.sample(np.random.default_rng(0))
    wide = space.architecture({choice.name: "k5e6" for choice in space.choices})
    narrow = space.architecture({choice.name: "skip_connect" if "skip_connect" in choice.options else "k3e1"
                                 for choice in space.choices})  # fmt: skip
    assert table.of(narrow) < table.of(chosen) < table.of(wide)
    # Six layers that cannot be skipped and 16 that are, as published.
    assert table.of(narrow) == pytest.approx(9.378 + 8.712 + 8.661 + 9.143 + 9.956 + 11.928 + 16 * 0.234, abs=0.05)
    assert table.error is None


class Clock:
    """A machine's clock that only its networks move, each run by a little more than the one before."""

    def __init__(self) -> None:
        self.now, self.runs = 0.0, 0

    def perf_counter(self) -> float:
        return self.now

    def network(self, milliseconds: float) -> torch.nn.Module:
        clock = self

        class Slowing(torch.nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                clock.now += milliseconds / 1000 * (1 + clock.runs / 100)
                clock.runs += 1
                return images

            def __deepcopy__(self, memo: object) -> torch.nn.Module:
                return self  # its clock is the machine's

        return Slowing()


def test_networks_are_comparable_though_the_machine_slows_down(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(import_module("archsearch.hardware.measure"), "time", clock)
    profile = Profile(name="here", warmup=1, iterations=21)
    paced = Paced(clock.network(0.5), torch.zeros(1, 1, 4, 4), profile, torch.device("cpu"))
    told = [paced(clock.network(2.0)) for _ in range(4)]
    assert clock.runs == 4 * 2 * 22
    # The machine is 2.7 times as slow at the end. A pair's second run is slower than its first by up to 1 %.
    assert told == pytest.approx([4.0] * 4, rel=0.01)
    assert paced.reference == pytest.approx(0.5 * (1 + 88 / 100), rel=0.03)


def test_a_scaled_table_tells_scaled_costs() -> None:
    given = table()
    architecture = CHAIN.sample(np.random.default_rng(3))
    assert given.scaled(3.0).of(architecture) == pytest.approx(3 * given.of(architecture))
    assert given.scaled(3.0).error == given.error
