"""From mixing weights to an architecture: hand-computed, with ties, and against the published loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.spaces import space_of
from archsearch.supernets import top_edges
from tests.supernets.tiny import SPACE

NB201 = space_of(SpaceSpec(nas_bench201=NasBench201()))
OPTIONS = ("skip_connect", "max_pool_3x3", "sep_conv_3x3", "dil_conv_3x3")
NONE = 4  # where `none` stands among the alternatives: after the options


def mix(**edges: list[float]) -> dict[str, Tensor]:
    """All edges equal, but for those that are given (`normal_1_0` is the edge from 0 to node 1)."""
    weights = {c.name: torch.full((5,), 0.2) for c in SPACE.choices if not c.is_subset}
    for name, values in edges.items():
        assert name.replace("_", "/") in weights
        weights[name.replace("_", "/")] = torch.tensor(values)
    return weights


def test_the_alternatives_are_as_written_here() -> None:
    assert {c.alternatives for c in SPACE.choices if not c.is_subset} == {(*OPTIONS, "none")}


def test_the_two_edges_whose_best_operations_are_strongest_are_kept() -> None:
    """Edge 1 of node 1 has the largest weight of all, but on `none`; 0 and 2 have the largest on an operation."""
    derived = top_edges(
        SPACE,
        mix(
            normal_0_0=[0.1, 0.2, 0.4, 0.1, 0.2],
            normal_0_1=[0.1, 0.1, 0.1, 0.2, 0.5],
            normal_1_0=[0.0, 0.4, 0.3, 0.2, 0.1],
            normal_1_1=[0.05, 0.02, 0.01, 0.02, 0.9],
            normal_1_2=[0.1, 0.1, 0.1, 0.3, 0.4],
        ),
    )
    assert {name: value for name, value in derived.values.items() if name.startswith("normal")} == {
        "normal/0/inputs": (0, 1),
        "normal/0/0": "sep_conv_3x3",
        "normal/0/1": "dil_conv_3x3",
        "normal/1/inputs": (0, 2),
        "normal/1/0": "max_pool_3x3",
        "normal/1/2": "dil_conv_3x3",
    }


def test_between_equals_the_first_wins() -> None:
    derived = top_edges(SPACE, mix())
    assert derived["normal/1/inputs"] == derived["reduction/1/inputs"] == (0, 1)
    assert {value for value in derived.values.values() if isinstance(value, str)} == {"skip_connect"}
    # Edge 0 is the strongest; 1 and 2 are equal.
    tied = top_edges(SPACE, mix(normal_1_0=[0.1, 0.3, 0.3, 0.2, 0.1]))
    assert tied["normal/1/inputs"] == (0, 1)
    assert tied["normal/1/0"] == "max_pool_3x3"
    assert top_edges(SPACE, mix(normal_1_0=[0.1] * 4 + [0.6]))["normal/1/inputs"] == (1, 2)


def test_none_is_never_chosen_and_gives_no_strength() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        weights = {name: torch.rand(5, generator=generator) * 0.01 for name in mix()}
        for values in weights.values():
            values[NONE] = 1 - values[:NONE].sum()
        derived = top_edges(SPACE, weights)
        assert "none" not in derived.values.values()
        weights_without = {name: values.clone() for name, values in weights.items()}
        for values in weights_without.values():
            values[NONE] = 0
        assert top_edges(SPACE, weights_without) == derived


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_published_derivation(seed: int) -> None:
    """`genotype()` of the published code: edges sorted by their largest weight without `none`, the first two kept."""
    generator = torch.Generator().manual_seed(seed)
    seen = set()
    for _ in range(100):
        weights = {name: torch.softmax(torch.randn(5, generator=generator), -1) for name in mix()}
        expected: dict[str, object] = {}
        for cell in ("normal", "reduction"):
            for node in range(2):
                rows = [weights[f"{cell}/{node}/{source}"][:NONE] for source in range(node + 2)]
                kept = sorted(sorted(range(node + 2), key=lambda j: -max(rows[j]))[:2])
                expected[f"{cell}/{node}/inputs"] = tuple(kept)
                expected |= {f"{cell}/{node}/{j}": OPTIONS[int(rows[j].argmax())] for j in kept}
        derived = top_edges(SPACE, weights)
        assert dict(derived.values) == expected
        seen.add(derived["normal/1/inputs"])
    assert seen == {(0, 1), (0, 2), (1, 2)}


def test_a_space_without_a_choice_of_inputs_takes_the_largest_weight_of_every_edge() -> None:
    """In NAS-Bench-201 `none` is an operation like any other."""
    generator = torch.Generator().manual_seed(1)
    chosen = set()
    for _ in range(30):
        weights = {c.name: torch.softmax(torch.randn(5, generator=generator), -1) for c in NB201.choices}
        derived = top_edges(NB201, weights)
        assert dict(derived.values) == {c.name: c.options[int(weights[c.name].argmax())] for c in NB201.choices}
        chosen |= set(derived.values.values())
    assert chosen == set(NB201.choices[0].options)
    assert "none" in chosen
