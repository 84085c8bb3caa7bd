"""What every space must do: one row a space, and two small ones whose parts have different sizes."""

import json
import pickle
import re
from collections import Counter
from math import comb, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.api import DartsCells, NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.spaces import Architecture, Choice, InvalidArchitecture, Space, space_of


def uneven() -> Space:
    """An input set that opens nothing, 2 or 2 x 3 ways, and a set that depends on a set: 1 + 2 + 12 = 15, times 2."""
    choices = (
        Choice("sources", ((), (0,), (0, 1))),
        Choice("a", ("x", "y"), when=(("sources", 0),)),
        Choice("b", ((0,), (1,), (0, 1)), when=(("sources", 1),)),
        Choice("b/0", (3, 5), when=(("b", 0),), extra=("none",)),
        Choice("b/1", (7,), when=(("b", 1),)),
        Choice("width", (8, 16)),
    )
    return Space("uneven", choices, NasBench201())


def darts(nodes: int, *operations: str) -> Space:
    return space_of(SpaceSpec(darts_cells=DartsCells(nodes=nodes, operations=operations)))


DARTS = space_of(SpaceSpec(darts_cells=DartsCells()))
NB201 = space_of(SpaceSpec(nas_bench201=NasBench201()))
SPACES = {
    "darts": DARTS,
    "darts-2-nodes": darts(2, "none", "skip_connect", "max_pool_3x3"),
    "darts-1-operation": darts(2, "none", "skip_connect"),
    "nasbench201": NB201,
    "uneven": uneven(),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
seeds = st.integers(0, 2**32 - 1)


def darts_size(nodes: int, operations: int) -> int:
    return prod(comb(node + 2, 2) * operations**2 for node in range(nodes)) ** 2


def differing(first: Architecture, second: Architecture) -> list[str]:
    """The choices that both have made, and differently."""
    return [name for name in first.values if name in second.values and first[name] != second[name]]


def dependents(space: Space, name: str) -> set[str]:
    direct = {choice.name for choice in space.choices if name in dict(choice.when)}
    return direct.union(*(dependents(space, child) for child in direct))


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (DARTS, 1_037_664_180**2),
        (darts(2, "none", "skip_connect", "max_pool_3x3"), darts_size(2, 2)),
        (darts(7, "skip_connect", "max_pool_3x3", "sep_conv_3x3"), darts_size(7, 3)),
        (NB201, 15_625),
        (uneven(), (1 + 2 + 2 * (2 + 1 + 2)) * 2),
    ],
)
def test_size_is_the_number_that_the_formula_gives(space: Space, size: int) -> None:
    assert space.size() == size


@pytest.mark.parametrize("space", [s for s in SPACES.values() if s.size() < 20_000], ids=lambda s: s.name)
def test_size_is_the_number_of_architectures_that_enumeration_finds(space: Space) -> None:
    architectures = {space.at(index) for index in range(space.size())}
    assert len(architectures) == space.size()
    assert len({architecture.id for architecture in architectures}) == space.size()


@every_space
def test_an_index_outside_the_space_is_refused(space: Space) -> None:
    for index in (-1, space.size()):
        with pytest.raises(IndexError, match=f"between 0 and {space.size() - 1}, but got {index}"):
            space.at(index)


@pytest.mark.parametrize("space", [SPACES["uneven"], SPACES["darts-2-nodes"]], ids=["uneven", "darts-2-nodes"])
def test_sampling_is_uniform_over_architectures(space: Space) -> None:
    rng = np.random.default_rng(5)
    draws = 15 * space.size()
    counts = Counter(space.sample(rng) for _ in range(draws))
    chi_squared = sum((counts[space.at(index)] - 15) ** 2 / 15 for index in range(space.size()))
    freedom = space.size() - 1
    # The mean is the degrees of freedom, the standard deviation sqrt(2 x freedom): four of them is a chance of 1e-4.
    assert chi_squared < freedom + 4 * (2 * freedom) ** 0.5


@every_space
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_the_same_generator_gives_the_same_architectures(space: Space, seed: int) -> None:
    def some() -> list[Architecture]:
        rng = np.random.default_rng(seed)
        first, second = space.sample(rng), space.sample(rng)
        return [first, second, space.crossover(first, second, rng)]

    assert some() == some()


@every_space
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_an_architecture_survives_json_and_pickling(space: Space, seed: int) -> None:
    architecture = space.sample(np.random.default_rng(seed))
    assert space.architecture(json.loads(architecture.json())) == architecture
    copy = pickle.loads(pickle.dumps(architecture))
    assert copy == architecture
    assert hash(copy) == hash(architecture)
    assert copy.id == architecture.id
    assert list(architecture.values) == [choice.name for choice in space.choices if choice.name in architecture.values]


@pytest.mark.parametrize("name", ["darts", "darts-2-nodes", "nasbench201", "uneven"])
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_mutation_changes_exactly_one_choice_and_what_it_opens(name: str, seed: int) -> None:
    space = SPACES[name]
    rng = np.random.default_rng(seed)
    parent = space.sample(rng)
    child = space.mutate(parent, rng)
    assert space.architecture(child.values) == child
    (changed,) = differing(parent, child)
    assert parent.values.keys() ^ child.values.keys() <= dependents(space, changed)
    assert child in set(space.neighbours(parent))


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_a_mutation_of_inputs_replaces_one_of_them(seed: int) -> None:
    """The hidden-state mutation of Real et al. 2019: what stays keeps its operation, too."""
    parent = DARTS.sample(np.random.default_rng(seed))
    for child in DARTS.neighbours(parent):
        (changed,) = differing(parent, child)
        if changed.endswith("/inputs"):
            assert len({*parent[changed]} & {*child[changed]}) == 1
            assert len(parent.values.keys() - child.values.keys()) == 1


def test_a_set_changes_by_one_member_and_anything_else_to_every_other_option() -> None:
    sets = Choice("sources", ((), (0,), (1,), (0, 1), (1, 2), (2, 3)))
    assert [sets.changes(option) for option in sets.options] == [
        [(0,), (1,)], [(), (1,), (0, 1)], [(), (0,), (0, 1), (1, 2)], [(0,), (1,), (1, 2)], [(1,), (0, 1), (2, 3)],
        [(1, 2)],
    ]  # fmt: skip
    assert Choice("width", (8, 16, 32)).changes(16) == [8, 32]


@pytest.mark.parametrize("name", ["darts-2-nodes", "nasbench201", "uneven"])
def test_mutation_reaches_every_neighbour(name: str) -> None:
    space = SPACES[name]
    rng = np.random.default_rng(3)
    parent = space.at(7)
    neighbours = list(space.neighbours(parent))
    reached = {space.mutate(parent, rng) for _ in range(60 * len(neighbours))}
    assert reached == set(neighbours)


def test_a_space_with_one_architecture_cannot_be_mutated() -> None:
    space = Space("one", (Choice("a", ("x",)),), NasBench201())
    with pytest.raises(ValueError, match="space one must have a choice with two options"):
        space.mutate(space.at(0), np.random.default_rng(0))


@every_space
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_being_a_neighbour_is_symmetric(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    architecture = space.sample(rng)
    neighbours = list(space.neighbours(architecture))
    assert len(set(neighbours)) == len(neighbours)
    assert architecture not in neighbours
    for index in rng.integers(len(neighbours), size=5):
        assert architecture in set(space.neighbours(neighbours[index]))


@pytest.mark.parametrize(("space", "count"), [(DARTS, 264), (NB201, 24)])
def test_the_number_of_neighbours(space: Space, count: int) -> None:
    # DARTS, each cell: 8 operations x 6 others, and one other input: 0, 2 x 7, 4 x 7 and 6 x 7 ways.
    assert len(list(space.neighbours(space.sample(np.random.default_rng(1))))) == count


@every_space
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_a_child_has_every_choice_from_a_parent(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = space.sample(rng), space.sample(rng)
    child = space.crossover(first, second, rng)
    assert space.architecture(child.values) == child
    assert all(value in (first.values.get(name), second.values.get(name)) for name, value in child.values.items())
    assert space.crossover(first, first, rng) == first


def test_crossover_takes_from_both_parents_alike() -> None:
    rng = np.random.default_rng(0)
    first, second = NB201.at(0), NB201.at(NB201.size() - 1)
    from_first = sum(NB201.crossover(first, second, rng)["cell/2/1"] == first["cell/2/1"] for _ in range(400))
    assert 160 < from_first < 240


@every_space
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_one_hot_tells_architectures_apart(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = space.sample(rng), space.sample(rng)
    code = space.one_hot(first)
    assert code.shape == (sum(len(choice.options) for choice in space.choices),)
    assert code.sum() == len(first.values)
    assert set(np.unique(code)) <= {0.0, 1.0}
    assert (first == second) == bool((code == space.one_hot(second)).all())


@pytest.mark.parametrize(
    ("space", "index", "identifier"),
    [(DARTS, 0, "b1a5f1b5103d"), (DARTS, 10**17, "b57638a1826a"), (NB201, 12_345, "3cbd01b8e7c0")],
)
def test_ids_are_the_same_for_ever(space: Space, index: int, identifier: str) -> None:
    assert space.at(index).id == identifier


@pytest.mark.parametrize(("space", "identifier"), [(DARTS, "a736ae22d6b7"), (NB201, "84902266fb55")])
def test_a_space_hash_is_the_same_for_ever(space: Space, identifier: str) -> None:
    assert space.hash() == identifier


def test_a_space_hash_follows_the_choices_and_the_stacks() -> None:
    variants = [
        DartsCells(),
        DartsCells(nodes=3),
        DartsCells(operations=("skip_connect", "none")),
        DartsCells(search={"channels": 8, "cells": 3}),
        DartsCells(final={"channels": 8, "cells": 3}),
    ]
    assert len({space_of(SpaceSpec(darts_cells=variant)).hash() for variant in variants}) == len(variants)


@every_space
def test_an_invalid_architecture_names_the_choice_and_the_value(space: Space) -> None:
    architecture = space.sample(np.random.default_rng(2))
    name = next(iter(architecture.values))
    wrong: list[object] = ["bogus", 1.5, None, {"a": 1}, [], True]
    for value in wrong:
        if value == [] and () in space.choices[0].options:
            continue
        with pytest.raises(InvalidArchitecture, match=rf"^{name} must be one of .*, but got {re.escape(repr(value))}$"):
            space.architecture({**architecture.values, name: value})
    with pytest.raises(InvalidArchitecture, match=rf"^{name} must be one of .*, but is missing"):
        space.architecture({key: value for key, value in architecture.values.items() if key != name})
    with pytest.raises(InvalidArchitecture, match=rf"^stem is no choice of {space.name}, but got 'wide'"):
        space.architecture({**architecture.values, "stem": "wide"})


def test_the_type_of_a_value_counts() -> None:
    space = Space("numbers", (Choice("depth", (1, 2)),), NasBench201())
    assert space.architecture({"depth": 1})["depth"] == 1
    for value in (True, 1.0, "1"):
        with pytest.raises(InvalidArchitecture, match=rf"depth must be one of \(1, 2\), but got {value!r}"):
            space.architecture({"depth": value})


def test_what_is_not_active_is_dropped() -> None:
    active = DARTS.sample(np.random.default_rng(4))
    inactive = {c.name: c.options[0] for c in DARTS.choices if c.name not in active.values}
    assert inactive
    assert DARTS.architecture({**inactive, **active.values}) == active


def test_none_is_never_chosen_in_darts_and_is_an_option_in_nasbench201() -> None:
    edge = next(choice for choice in DARTS.choices if choice.name == "normal/1/2")
    assert edge.extra == ("none",)
    assert edge.alternatives[-1] == "none"
    assert "none" not in edge.options
    assert all("none" in choice.options and not choice.extra for choice in NB201.choices)


def test_an_architecture_fits_in_a_message_with_room_to_spare() -> None:
    largest = darts(7, "dil_conv_3x3", "dil_conv_5x5")
    assert len(largest.sample(np.random.default_rng(0)).json()) < 1_500


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ((Choice("a", ("x",)), Choice("a", ("y",))), "declare every choice once, but got a twice"),
        ((Choice("a", ("x",), when=(("b", 0),)), Choice("b", ((0,),))), "declared before it, but got 0 of b"),
        ((Choice("b", (0, 1)), Choice("a", ("x",), when=(("b", 2),))), "declared before it, but got 2 of b"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(choices: tuple[Choice, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Space("broken", choices, NasBench201())


def test_a_choice_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"choice a must have every option once, but got \['x', 'y', 'x'\]"):
        Choice("a", ("x", "y"), extra=("x",))
    with pytest.raises(ValueError, match="choice a must have an option that an architecture can hold"):
        Choice("a", (), extra=("none",))
