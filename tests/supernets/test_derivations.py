"""Derivations beside DARTS' own: against enumeration, by hand, and on average."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from archsearch.api import DartsCells, NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.spaces import Architecture, Choice, Space, space_of
from archsearch.supernets import most_probable, sample, threshold, top_edges
from tests.supernets.tiny import SPACE

NB201 = space_of(SpaceSpec(nas_bench201=NasBench201()))
# A trellis of three levels and four layers (Liu et al. 2019, Auto-DeepLab): a level is followed by it or a neighbour,
# and what is done in a layer is a choice of its own that several levels open.
LAYERS, LEVELS = 4, ("high", "middle", "low")
NEXT = {"high": ("high", "middle"), "middle": LEVELS, "low": ("middle", "low")}


def trellis() -> Space:
    choices = [Choice("0/level", LEVELS)]
    for layer in range(1, LAYERS):
        for level in LEVELS:
            before = [(f"{layer - 1}/{source}", level) for source in LEVELS if level in NEXT[source]]
            when = tuple(before) if layer > 1 else (("0/level", level),)
            choices.append(Choice(f"{layer}/{level}", NEXT[level], when=when))
    for layer in range(1, LAYERS):
        when = tuple((f"{layer}/{level}", "low") for level in LEVELS if "low" in NEXT[level])
        choices.append(Choice(f"{layer}/rate", (1, 2, 4), when=when))
    return Space("trellis", tuple(choices), NasBench201())


TRELLIS = trellis()
OPERATIONS = ("none", "skip_connect", "sep_conv_3x3")
PAIRS = space_of(SpaceSpec(darts_cells=DartsCells.model_validate({"nodes": 2, "operations": OPERATIONS})))


def random_mix(space: Space, seed: int, *, inputs: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for choice in space.choices:
        if choice.is_subset and not inputs:
            continue
        size = 1 + max(max(o) for o in choice.options) if choice.is_subset else len(choice.alternatives)  # type: ignore[type-var]
        found[choice.name] = torch.softmax(2 * torch.randn(size, dtype=torch.float64, generator=generator), -1)
    return found


def log_probability(space: Space, mix: dict[str, Tensor], architecture: Architecture) -> float:
    total = 0.0
    for choice in space.choices:
        if choice.name not in architecture.values:
            continue
        value = architecture[choice.name]
        if not choice.is_subset:
            total += math.log(float(mix[choice.name][choice.options.index(value)]))
        elif choice.name in mix:
            products = {o: math.prod(float(mix[choice.name][at]) for at in o) for o in choice.options}  # type: ignore[union-attr]
            total += math.log(products[value] / sum(products.values()))
        else:
            total -= math.log(len(choice.options))
    return total


def test_the_trellis_is_one() -> None:
    """Paths through levels, times the rates where the lower level is entered."""
    paths = {tuple(v for n, v in TRELLIS.at(i).values.items() if "rate" not in n) for i in range(TRELLIS.size())}
    assert len(paths) == 41
    assert TRELLIS.size() > 150


@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_most_probable_architecture_is_the_best_of_all(seed: int, inputs: bool) -> None:
    """Found by going through choices, here by looking at every one: 41 paths with rates, and 2,304 pairs of cells."""
    for space in (TRELLIS, PAIRS):
        mix = random_mix(space, seed, inputs=inputs)
        scores = [log_probability(space, mix, space.at(index)) for index in range(space.size())]
        assert most_probable(space, mix) == space.at(scores.index(max(scores)))
        assert max(scores) > sorted(scores)[-2]


def test_the_most_probable_path_is_not_the_greedy_one() -> None:
    mix = {choice.name: torch.full((len(choice.options),), 1 / len(choice.options)) for choice in TRELLIS.choices}
    mix["0/level"] = torch.tensor([0.38, 0.26, 0.36])
    mix["1/low"] = torch.tensor([0.01, 0.99])
    mix["1/rate"] = torch.tensor([0.98, 0.01, 0.01])
    assert top_edges(TRELLIS, mix)["0/level"] == "high"
    assert most_probable(TRELLIS, mix)["0/level"] == "low"


def cell(**edges: list[float]) -> dict[str, Tensor]:
    """NAS-Bench-201: none, skip, 1x1, 3x3, pool; all edges alike, but for those that are given."""
    mix = {choice.name: torch.tensor([0.1, 0.3, 0.2, 0.9, 0.2]) for choice in NB201.choices}
    return mix | {f"cell/{name[1]}/{name[2]}": torch.tensor(values) for name, values in edges.items()}


def test_where_no_operation_is_strong_there_is_none() -> None:
    derived = threshold(NB201, cell(e20=[0.1, 0.7, 0.84, 0.2, 0.1], e31=[0.95, 0.9, 0.1, 0.1, 0.1]), 0.85)
    assert derived["cell/2/0"] == "none"
    assert derived["cell/3/1"] == "none"
    assert {derived[name] for name in derived.values if name not in ("cell/2/0", "cell/3/1")} == {"nor_conv_3x3"}
    assert threshold(NB201, cell(e20=[0.1, 0.7, 0.85, 0.2, 0.1]), 0.84)["cell/2/0"] == "nor_conv_1x1"


def test_where_none_is_no_option_a_threshold_changes_nothing() -> None:
    for seed in range(10):
        mix = random_mix(SPACE, seed)
        assert threshold(SPACE, mix, 0.99) == top_edges(SPACE, mix)


def test_weights_of_inputs_decide_with_the_operations_which_edges_are_kept() -> None:
    """0.5 x 0.3, 0.2 x 0.6 and 0.3 x 0.5 for node 1 of the normal cell; without them the first is weakest."""
    mix = {c.name: torch.tensor([0.2, 0.2, 0.2, 0.2, 0.2]) for c in SPACE.choices if not c.is_subset}
    for source, largest in enumerate((0.3, 0.6, 0.5)):
        mix[f"normal/1/{source}"] = torch.tensor([largest, 0.05, 0.05, 0.05, 0.0])
    assert top_edges(SPACE, mix)["normal/1/inputs"] == (1, 2)
    assert top_edges(SPACE, mix | {"normal/1/inputs": torch.tensor([0.5, 0.2, 0.3])})["normal/1/inputs"] == (0, 2)


@pytest.mark.parametrize("most", [0, 1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_a_cell_has_no_more_skips_than_it_may(seed: int, most: int) -> None:
    """The strongest of them stay, and nothing else changes in a cell that had no more."""
    mix = random_mix(SPACE, seed)
    for name, weights in mix.items():
        if name.startswith("normal"):
            weights[0] += 2
    free, limited = top_edges(SPACE, mix), top_edges(SPACE, mix, max_skips=most)
    skips = [name for name, value in limited.values.items() if value == "skip_connect" and name.startswith("normal")]
    assert sum(value == "skip_connect" for name, value in free.values.items() if name.startswith("normal")) == 4
    assert len(skips) <= most
    if most == 4:
        assert limited == free
    assert top_edges(SPACE, mix, max_skips=most) == limited
    for name in skips:
        assert free[name] == "skip_connect"


def test_the_weakest_skip_goes_first() -> None:
    mix = {choice.name: torch.tensor([0.1, 0.5, 0.1, 0.2, 0.1]) for choice in NB201.choices}
    for place, choice in enumerate(NB201.choices):
        mix[choice.name][1] += 0.1 * place
    derived = top_edges(NB201, mix, max_skips=2)
    assert list(derived.values.values()) == ["nor_conv_3x3"] * 4 + ["skip_connect"] * 2


def test_samples_follow_the_weights_and_are_all_different() -> None:
    mix = {choice.name: torch.tensor([0.1, 0.5, 0.1, 0.3, 0.0]) for choice in NB201.choices}
    drawn = [sample(NB201, mix, 1, torch.Generator().manual_seed(seed))[0] for seed in range(1500)]
    counts = Counter(str(architecture[choice.name]) for architecture in drawn for choice in NB201.choices)
    total = sum(counts.values())
    for name, share in zip(NB201.choices[0].options, (0.1, 0.5, 0.1, 0.3, 0.0), strict=True):
        assert counts[str(name)] / total == pytest.approx(share, abs=0.02)
    several = sample(NB201, mix, 6, torch.Generator().manual_seed(0))
    assert len(set(several)) == len(several) <= 6
    assert sample(NB201, mix, 6, torch.Generator().manual_seed(0)) == several
    decided = {choice.name: torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]) for choice in NB201.choices}
    assert len(sample(NB201, decided, 6, torch.Generator().manual_seed(0))) == 1


def test_sampled_inputs_follow_the_strengths_of_their_edges() -> None:
    """The strongest operations have 0.8, 0.4 and 0.2: the pairs have 0.32, 0.16 and 0.08 in proportion."""
    mix = {c.name: torch.full((5,), 0.2) for c in SPACE.choices if not c.is_subset}
    for source, largest in enumerate((0.8, 0.4, 0.2)):
        mix[f"normal/1/{source}"] = torch.tensor([largest, 0.0, 0.0, 0.0, 0.0])
    counts = Counter(
        sample(SPACE, mix, 1, torch.Generator().manual_seed(seed))[0]["normal/1/inputs"] for seed in range(1500)
    )
    for pair, share in (((0, 1), 4 / 7), ((0, 2), 2 / 7), ((1, 2), 1 / 7)):
        assert counts[pair] / 1500 == pytest.approx(share, abs=0.05)
