"""What every space must do: one row a space, and two small ones whose parts have different sizes."""

import json
import pickle
import re
from collections import Counter
from collections.abc import Sequence
from math import comb, factorial, isqrt, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from archsearch.api import DartsCells, ElasticChain, EnasMacro, MbconvChain, NasBench201, NasnetCells
from archsearch.api import Space as SpaceSpec
from archsearch.spaces import Architecture, Choice, InvalidArchitecture, Space, space_of
from archsearch.spaces.graph import OUTPUT, Edge
from archsearch.spaces.nasnet import SIDES


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


def nasnet(nodes: int, *operations: str) -> Space:
    return space_of(SpaceSpec(nasnet_cells=NasnetCells(nodes=nodes, operations=operations)))


def macro(layers: int) -> Space:
    return space_of(SpaceSpec(enas_macro=EnasMacro(layers=layers)))


def mbconv(stages: list[tuple[int, int, int]], blocks: list[str], **stem: int) -> Space:
    """stages: channels, layers and stride of each."""
    listed = [{"channels": channels, "layers": layers, "stride": stride} for channels, layers, stride in stages]
    settings = {"stem": stem or {"channels": 8}, "stages": listed, "blocks": blocks}
    return space_of(SpaceSpec(mbconv_chain=MbconvChain.model_validate(settings)))


def elastic(*depths: tuple[int, ...], kernels: tuple[int, ...], expansions: tuple[int, ...]) -> Space:
    settings = {"stages": [{"channels": 8, "depths": each} for each in depths]}
    chain = ElasticChain.model_validate({**settings, "kernels": kernels, "expansions": expansions})
    return space_of(SpaceSpec(elastic_chain=chain))


def trellis(**given: object) -> Space:
    return space_of(SpaceSpec.model_validate({"resolutionTrellis": given}))


def pyramid(nodes: int, layers: int) -> Space:
    given = {"nodes": nodes, "stages": [{"channels": 8, "layers": layers}] * 4, "blocks": ["k3e3", "k5e6"]}
    return space_of(SpaceSpec.model_validate({"featurePyramid": given}))


def motifs(count: int, motif_nodes: int, cell_nodes: int) -> Space:
    given = {"motifs": count, "motifNodes": motif_nodes, "cellNodes": cell_nodes}
    return space_of(SpaceSpec.model_validate({"hierarchicalMotifs": given}))


def transformer(**given: object) -> Space:
    return space_of(SpaceSpec.model_validate({"elasticTransformer": given}))


def custom(*choices: dict[str, object]) -> Space:
    return space_of(SpaceSpec.model_validate({"custom": {"module": "a.b:C", "choices": choices}}))


DARTS = space_of(SpaceSpec(darts_cells=DartsCells()))
NB201 = space_of(SpaceSpec(nas_bench201=NasBench201()))
NASNET = space_of(SpaceSpec(nasnet_cells=NasnetCells()))
MACRO = space_of(SpaceSpec(enas_macro=EnasMacro()))
MBCONV = space_of(SpaceSpec(mbconv_chain=MbconvChain()))
ELASTIC = space_of(SpaceSpec(elastic_chain=ElasticChain()))
PYRAMID = pyramid(5, 2)
TRELLIS = trellis()
MOTIFS = motifs(6, 4, 5)
FUSION = space_of(SpaceSpec.model_validate({"fusionNetwork": {}}))
TRANSFORMER = transformer()
SMALL_TRANSFORMER = transformer(
    widths=[8], encoderDepths=[2, 1], decoderDepths=[1], feedForward=[16, 8], heads=[2, 1], attends=[1]
)
SEQUENCE_CELLS = space_of(SpaceSpec.model_validate({"sequenceCells": {}}))
SEQUENCE_CHAIN = space_of(SpaceSpec.model_validate({"sequenceChain": {}}))
CUSTOM = custom(
    {"name": "depth", "options": ["1", "2"]},
    {"name": "block/1", "options": ["conv", "pool"]},
    {"name": "block/2", "options": ["conv", "pool"], "when": [{"choice": "depth", "option": "2"}]},
    {"name": "kernel", "options": ["3", "5", "7"],
     "when": [{"choice": "block/1", "option": "conv"}, {"choice": "block/2", "option": "conv"}]},
)  # fmt: skip
PROXYLESS_STAGES = [(24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1)]
FBNET_STAGES = [(16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1)]
FBNET_BLOCKS = ["k3e1", "k3e1g2", "k3e3", "k3e6", "k5e1", "k5e1g2", "k5e3", "k5e6"]
SPACES = {
    "darts": DARTS,
    "darts-2-nodes": darts(2, "none", "skip_connect", "max_pool_3x3"),
    "darts-1-operation": darts(2, "none", "skip_connect"),
    "nasbench201": NB201,
    "uneven": uneven(),
    "nasnet": NASNET,
    "nasnet-1-node": nasnet(1, "skip_connect", "max_pool_3x3", "conv_3x3"),
    "enas-macro": MACRO,
    "enas-macro-3-layers": macro(3),
    "mbconv": MBCONV,
    "mbconv-2-stages": mbconv([(8, 2, 1), (12, 2, 2)], ["k3e3", "k5e6g2"]),
    "elastic": ELASTIC,
    "elastic-2-stages": elastic((1, 3), (2,), kernels=(3, 5), expansions=(2, 1)),
    "trellis": TRELLIS,
    "trellis-2-layers": trellis(layers=2, levels=2, nodes=1, operations=["skip_connect", "none", "sep_conv_3x3"]),
    "motifs-2": motifs(2, 2, 3),
    "pyramid": PYRAMID,
    "pyramid-3-nodes": pyramid(3, 1),
    "fusion": FUSION,
    "transformer": TRANSFORMER,
    "transformer-small": SMALL_TRANSFORMER,
    "sequence-cells": SEQUENCE_CELLS,
    "sequence-chain": SEQUENCE_CHAIN,
    "custom": CUSTOM,
}
NEW = [
    "nasnet", "enas-macro", "mbconv", "elastic-2-stages", "trellis", "motifs-2", "sequence-cells", "sequence-chain",
    "pyramid", "fusion", "transformer", "custom",
]  # fmt: skip
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
seeds = st.integers(0, 2**32 - 1)


def darts_size(nodes: int, operations: int) -> int:
    return prod(comb(node + 2, 2) * operations**2 for node in range(nodes)) ** 2


def walks(layers: int, levels: int) -> int:
    """Paths from the first level, counted by the powers of the matrix of steps."""
    steps = np.array([[abs(i - j) <= 1 for j in range(levels)] for i in range(levels)], dtype=np.int64)
    return int(np.linalg.matrix_power(steps, layers)[0].sum())


def motif_size(count: int, motif_nodes: int, cell_nodes: int) -> int:
    """By how many motifs are used: the cells that use all of these, by inclusion and exclusion, and their contents."""
    inside, outside = 7 ** comb(motif_nodes, 2), comb(cell_nodes, 2)
    return sum(
        comb(count, used) * inside**used
        * sum((-1) ** left * comb(used, left) * (1 + used - left) ** outside for left in range(used + 1))
        for used in range(count + 1)
    )  # fmt: skip


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
        (NASNET, (factorial(6) ** 2 * 8**10) ** 2),
        (nasnet(4, "skip_connect", "max_pool_3x3"), (factorial(5) ** 2 * 2**8) ** 2),
        (MACRO, 6**12 * 2**66),
        (macro(4), 6**4 * 2**6),
        (MBCONV, 6**6 * 7**10),
        (mbconv([(8, 2, 1), (12, 2, 2)], ["k3e3", "k5e6g2"]), 3**2 * 2 * 3),
        (ELASTIC, (9**2 + 9**3 + 9**4) ** 5),
        (elastic((1, 3), (2,), kernels=(3, 5), expansions=(2, 1)), (4 + 4**3) * 4**2),
        (TRELLIS, walks(8, 3) * isqrt(darts_size(4, 7))),
        (trellis(layers=12, levels=4, nodes=5), walks(12, 4) * isqrt(darts_size(5, 7))),
        (MOTIFS, motif_size(6, 4, 5)),
        # Blocks, or none of them in the second layer; pairs of maps; two ways to merge; levels of two nodes.
        (pyramid(5, 2), (2 * 3) ** 4 * comb(3, 2) * comb(4, 2) * comb(5, 2) * comb(6, 2) * comb(7, 2) * 2**5 * 3**2),
        (FUSION, (4 * 3 * 5) ** 2),
        (motifs(2, 2, 3), 1 + 2 * 7 * (2**3 - 1) + 49 * (3**3 - 2 * 2**3 + 1)),
        # Of an encoder's layer 3 x 2 ways, of a decoder's 3 x 2 x 2 x 3.
        (TRANSFORMER, 2**2 * 6**6 * sum(36**depth for depth in range(1, 7))),
        (SMALL_TRANSFORMER, (4 + 4**2) * 8),
        # One layer: 1 + 3 ways; two: both pools, or 3 kernels for each of 3 others.
        (CUSTOM, (1 + 3) + (1 + 3 * 3)),
    ],
)
def test_size_is_the_number_that_the_formula_gives(space: Space, size: int) -> None:
    assert space.size() == size


def test_sizes_are_those_that_were_published() -> None:
    # Liu et al. 2018 (PNAS), section 3.1: one cell of 5 nodes and 8 operations.
    assert f"{NASNET.size() ** 0.5:.1e}" == "5.6e+14"
    # Pham et al. 2018, section 2.3: about 1.6 x 10^29.
    assert f"{MACRO.size():.1e}" == "1.6e+29"
    # Cai et al. 2020, section 3.1: about 2 x 10^19.
    assert f"{ELASTIC.size():.0e}" == "2e+19"


def test_the_spaces_of_proxylessnas_and_fbnet_can_be_written() -> None:
    proxyless = mbconv(PROXYLESS_STAGES, ["k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6"], channels=32, separable=16)
    assert len(proxyless.choices) == 21
    assert proxyless.size() == 6**6 * 7**15
    fbnet = mbconv(FBNET_STAGES, FBNET_BLOCKS, channels=16)
    assert len(fbnet.choices) == 22
    # The paper has nine blocks in each layer; where the shape changes, its skip is a convolution.
    assert fbnet.size() == 9**16 * 8**6


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


@pytest.mark.parametrize("name", ["darts", "darts-2-nodes", "nasbench201", "uneven", *NEW])
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


@pytest.mark.parametrize(
    "name",
    [
        "darts-2-nodes", "nasbench201", "uneven", "nasnet-1-node", "mbconv-2-stages", "elastic-2-stages",
        "trellis-2-layers", "motifs-2", "fusion", "custom",
    ],
)  # fmt: skip
def test_mutation_reaches_every_neighbour(name: str) -> None:
    space = SPACES[name]
    rng = np.random.default_rng(3)
    parent = space.at(7)
    neighbours = list(space.neighbours(parent))
    reached = {space.mutate(parent, rng) for _ in range(60 * len(neighbours))}
    assert reached == set(neighbours)


def test_what_a_mutation_closes_and_opens_again_keeps_its_value() -> None:
    """`tail` is open by `left` in the parent, and in some children by `right`, which is drawn."""
    choices = (
        Choice("side", ("left", "right")),
        Choice("left", ("bare", "tailed"), when=(("side", "left"),)),
        Choice("right", ("bare", "tailed"), when=(("side", "right"),)),
        Choice("tail", (1, 2, 3), when=(("left", "tailed"), ("right", "tailed"))),
    )
    space = Space("sides", choices, NasBench201())
    parent = space.architecture({"side": "left", "left": "tailed", "tail": 2})
    across = [
        space.architecture({"side": "right", "right": "bare"}),
        space.architecture({"side": "right", "right": "tailed", "tail": 2}),
    ]
    assert [child for child in space.neighbours(parent) if child["side"] == "right"] == across
    rng = np.random.default_rng(0)
    drawn = Counter(child for _ in range(3000) if (child := space.mutate(parent, rng))["side"] == "right")
    assert drawn.keys() == set(across)
    # One of three choices is changed: a third of the mutations, half of them each way.
    assert all(abs(count - 500) < 90 for count in drawn.values())
    assert all(parent in set(space.neighbours(child)) for child in across)


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


@pytest.mark.parametrize(("space", "count"), [(DARTS, 264), (NB201, 24), (NASNET, 200), (MACRO, 126), (MBCONV, 90)])
def test_the_number_of_neighbours(space: Space, count: int) -> None:
    # DARTS, each cell: 8 operations x 6 others, and one other input: 0, 2 x 7, 4 x 7 and 6 x 7 ways.
    # NASNet, each cell: 10 operations x 7 others, and of each node 2 x 1, 2, 3, 4 and 5 other inputs.
    # ENAS: 12 x 5 other operations and 66 bits. MBConv: 6 layers x 5 other blocks, and 10 x 6.
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
    [
        (DARTS, 0, "b1a5f1b5103d"),
        (DARTS, 10**17, "b57638a1826a"),
        (NB201, 12_345, "3cbd01b8e7c0"),
        (NASNET, 10**29, "9797e3cc4b62"),
        (MACRO, 10**29, "bc1989c36a71"),
        (MBCONV, 10**13, "c30bc6206790"),
        (ELASTIC, 10**19, "d50d19900c3c"),
        (TRELLIS, 10**12, "47cc5125e846"),
        (MOTIFS, 10**38, "ceb670719b8e"),
        (CUSTOM, 10, "b76c93f89182"),
    ],
)
def test_ids_are_the_same_for_ever(space: Space, index: int, identifier: str) -> None:
    assert space.at(index).id == identifier


HASHES = [
    (DARTS, "a736ae22d6b7"),
    (NB201, "84902266fb55"),
    (NASNET, "0608e1af2020"),
    (MACRO, "da0df27b1bd6"),
    (MBCONV, "513d626458a6"),
    (ELASTIC, "fa9521719a07"),
    (TRELLIS, "6e1feeb5c9b6"),
    (MOTIFS, "188f9e7a45c7"),
    (CUSTOM, "c9f36b3c096a"),
]


@pytest.mark.parametrize(("space", "identifier"), HASHES)
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


@pytest.mark.parametrize(
    "space",
    [
        darts(7, "dil_conv_3x3", "dil_conv_5x5"),
        nasnet(6, "sep_conv_3x3", "conv_1x7_7x1"),
        MACRO,
        mbconv([(8, 8, 1)] * 8, ["k3e1g2", "k5e1g2"]),
        elastic(*[(6,)] * 7, kernels=(9, 11), expansions=(1, 8)),
        trellis(layers=16, levels=4, nodes=7),
        MOTIFS,
    ],
    ids=lambda space: space.name,
)
def test_the_largest_architectures_fit_in_a_message_with_room_to_spare(space: Space) -> None:
    longest = {choice.name: max(choice.options, key=lambda option: len(str(option))) for choice in space.choices}
    assert len(space.architecture(longest).json()) < 1_500


def nodes(edges: Sequence[Edge]) -> set[str]:
    return {node for edge in edges for node in (edge.source, edge.target)}


@pytest.mark.parametrize("name", ["nasnet", "enas-macro", "mbconv", "elastic", "trellis", "motifs"])
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_every_node_of_a_graph_is_on_a_way_from_an_input_to_the_output(name: str, seed: int) -> None:
    space = MOTIFS if name == "motifs" else SPACES[name]
    assert space.graph is not None
    for edges in space.graph(space.sample(np.random.default_rng(seed))).values():
        reached = {edge.source for edge in edges} - {edge.target for edge in edges}
        leading = {OUTPUT} if edges else set()  # motifs may lead nowhere: then there is nothing to draw
        for _ in edges:
            reached |= {edge.target for edge in edges if edge.source in reached}
            leading |= {edge.source for edge in edges if edge.target in leading}
        assert reached == leading == nodes(edges)


def test_the_graph_of_a_nasnet_cell_joins_the_nodes_that_nobody_uses() -> None:
    first = {f"{cell}/{node}/{side}": 0 for cell in ("normal", "reduction") for node in (0, 1) for side in SIDES}
    operations = {f"{name}/op": "max_pool_3x3" for name in first}
    space = nasnet(2, "max_pool_3x3")
    chained = space.architecture({**first, **operations, "normal/1/left": 2, "normal/1/right": 1})
    assert space.graph is not None
    graph = space.graph(chained)
    assert [(edge.source, edge.target, edge.operation) for edge in graph["normal"]] == [
        ("before previous", "0", "max_pool_3x3"),
        ("before previous", "0", "max_pool_3x3"),
        ("0", "1", "max_pool_3x3"),
        ("previous", "1", "max_pool_3x3"),
        ("1", "output", ""),
    ]
    assert [edge.source for edge in graph["reduction"] if edge.target == OUTPUT] == ["0", "1"]
    assert space.paths(chained) == {
        "normal:max_pool_3x3,max_pool_3x3", "normal:max_pool_3x3", "reduction:max_pool_3x3",
    }  # fmt: skip


def test_the_graph_of_a_trellis_has_the_path_and_the_cell() -> None:
    space = trellis(layers=3, levels=2, nodes=1, operations=["skip_connect", "sep_conv_3x3"])
    values = {"path/0/0": 1, "path/1/1": 1, "path/2/1": 0, "cell/0/inputs": (0, 1)}
    words = {"cell/0/0": "skip_connect", "cell/0/1": "sep_conv_3x3"}
    assert space.paths(space.architecture(values | words)) == {
        "path:level 1,level 1,level 0", "cell:skip_connect", "cell:sep_conv_3x3",
    }  # fmt: skip


def test_the_graph_of_motifs_leaves_out_what_leads_nowhere() -> None:
    space = motifs(2, 3, 3)
    cell = {"cell/1/0": 0, "cell/2/0": 1, "cell/2/1": 2}
    words = {"motif/1/1/0": "conv_1x1", "motif/1/2/0": "none", "motif/1/2/1": "sep_conv_3x3"}
    unused = {"motif/2/1/0": "conv_1x1", "motif/2/2/0": "none", "motif/2/2/1": "none"}
    architecture = space.architecture(cell | words | unused)
    assert space.paths(architecture) == {"cell:motif 1", "motif 1:conv_1x1,sep_conv_3x3"}
    assert space.graph is not None
    assert space.graph(architecture)["motif 2"] == []


def test_the_graph_of_a_chain_leaves_out_what_is_skipped_and_what_is_too_deep() -> None:
    chain = SPACES["mbconv-2-stages"]
    skipping = chain.architecture({"0/0": "k3e3", "0/1": "skip_connect", "1/0": "k3e3", "1/1": "k5e6g2"})
    assert chain.paths(skipping) == {"0:k3e3", "1:k3e3,k5e6g2"}
    stages = SPACES["elastic-2-stages"]
    shallow = stages.at(0)
    assert shallow["0/depth"] == 1
    assert stages.paths(shallow) == {"0:k3e1", "1:k3e1,k3e1"}
    connected = macro(3)
    bits = {"skip/1/0": 0, "skip/2/0": 1, "skip/2/1": 0}
    pooled = connected.architecture({f"layer/{i}": "max_pool_3x3" for i in range(3)} | bits)
    pool = "max_pool_3x3"
    assert connected.paths(pooled) == {f"network:{pool},{pool},{pool}", f"network:{pool},skip"}


def test_only_what_an_elastic_stage_is_deep_enough_for_is_chosen() -> None:
    space = SPACES["elastic-2-stages"]
    shallow = next(a for index in range(space.size()) if (a := space.at(index))["0/depth"] == 1)
    assert list(shallow.values)[:3] == ["0/depth", "0/0/kernel", "0/0/expand"]
    assert not any(name.startswith(("0/1", "0/2")) for name in shallow.values)
    rng = np.random.default_rng(0)
    assert {space.mutate(shallow, rng)["0/depth"] for _ in range(60)} == {1, 3}


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


def test_a_choice_of_ones_own_depends_on_options_of_choices_before_it() -> None:
    first, second = {"name": "a", "options": ["x"]}, {"name": "b", "options": ["y"]}
    for choices, said in (
        ([first, second | {"when": [{"choice": "a", "option": "z"}]}], "a = z for b"),
        ([first | {"when": [{"choice": "b", "option": "y"}]}, second], "b = y for a"),
    ):
        with pytest.raises(ValidationError, match=f"depend on options of choices before them only, but got {said}"):
            custom(*choices)


def test_a_choice_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"choice a must have every option once, but got \['x', 'y', 'x'\]"):
        Choice("a", ("x", "y"), extra=("x",))
    with pytest.raises(ValueError, match="choice a must have an option that an architecture can hold"):
        Choice("a", (), extra=("none",))


@every_space
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_an_architecture_has_the_number_under_which_it_is_found(space: Space, seed: int) -> None:
    architecture = space.sample(np.random.default_rng(seed))
    assert space.at(space.rank(architecture)) == architecture
