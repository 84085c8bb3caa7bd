"""Graphs of architectures: their paths, and the chains of operations that they compute."""

from __future__ import annotations

from collections import Counter
from math import comb

import numpy as np
import pytest

from archsearch.api import DartsCells, NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.spaces import Choice, Space, space_of
from archsearch.spaces.graph import OUTPUT, PATHS, Edge, Graph, chains, paths
from archsearch.spaces.nasbench201 import from_string

NB201 = space_of(SpaceSpec(nas_bench201=NasBench201()))
DARTS = space_of(SpaceSpec(darts_cells=DartsCells()))


def graph(text: str) -> Graph:
    assert NB201.graph is not None
    return NB201.graph(from_string(NB201, text))


def test_the_paths_of_a_cell_are_the_operations_on_each_way_through_it() -> None:
    cell = graph("|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|skip_connect~2|")
    assert paths(cell) == {
        "cell:avg_pool_3x3",
        "cell:skip_connect,skip_connect",
        "cell:nor_conv_3x3,nor_conv_1x1,skip_connect",
    }


def test_a_chain_leaves_out_what_changes_nothing_and_counts_what_is_there_twice() -> None:
    cell = graph("|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|nor_conv_3x3~0|skip_connect~1|skip_connect~2|")
    assert chains(cell) == Counter({"cell:nor_conv_3x3": 4})
    assert chains(graph("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")) == Counter({"cell:": 1})


def test_a_cell_that_leads_nowhere_has_no_way_through() -> None:
    dead = graph("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|none~1|none~2|")
    assert paths(dead) == frozenset()
    assert chains(dead) == Counter()


def test_cells_that_compute_the_same_have_the_same_chains() -> None:
    first = graph("|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|skip_connect~1|skip_connect~2|")
    second = graph("|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|skip_connect~1|skip_connect~2|")
    assert chains(first) == chains(second)


@pytest.mark.parametrize("seed", range(5))
def test_a_cell_of_darts_has_a_way_for_every_choice_of_inputs_back_to_the_cells_before_it(seed: int) -> None:
    assert DARTS.graph is not None
    cells = DARTS.graph(DARTS.sample(np.random.default_rng(seed)))
    assert set(cells) == {"normal", "reduction"}
    for edges in cells.values():
        ways = {"before previous": 1, "previous": 1}
        for node in ("0", "1", "2", "3", OUTPUT):
            ways[node] = sum(ways[edge.source] for edge in edges if edge.target == node)
        assert sum(chains({"cell": edges}).values()) == ways[OUTPUT]
        assert len(paths({"cell": edges})) <= ways[OUTPUT]


def test_of_too_many_ways_the_shortest_are_kept() -> None:
    """A chain of 20 layers, each of which can be left out: comb(20, k) ways have k operations."""
    edges = [Edge(str(layer), str(layer + 1), f"conv {layer}") for layer in range(20)]
    edges += [Edge(str(layer), str(layer + 1), "") for layer in range(20)]
    edges.append(Edge("20", OUTPUT, ""))
    found = paths({"cell": edges})
    assert len(found) == PATHS
    assert chains({"cell": edges}).keys() == found

    direct = [*edges, Edge("input", OUTPUT, "pool")]
    assert "cell:pool" in paths({"cell": direct})
    assert sum(comb(20, count) for count in range(21)) > PATHS


def test_a_space_without_cells_has_its_choices_for_paths() -> None:
    plain = Space("plain", (Choice("a", ("x", "y")), Choice("b", (1, 2), when=(("a", "y"),))), NasBench201())
    assert plain.paths(plain.architecture({"a": "y", "b": 2})) == {"a:y", "b:2"}
    assert plain.paths(plain.architecture({"a": "x"})) == {"a:x"}
