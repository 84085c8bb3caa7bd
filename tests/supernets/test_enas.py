"""ENAS: what each of its steps moves, that it goes on bit-equal, and that it finds the cell that is clearly better."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, repeat
from typing import Any

import pytest
import torch
from torch import Tensor

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.api.enas import Enas as Settings
from archsearch.api.task import Training
from archsearch.evaluation import State
from archsearch.networks import supernet
from archsearch.spaces import Space, space_of
from archsearch.supernets.enas import Enas, EnasReport
from archsearch.tasks import ImageData
from archsearch.work.checkpoint import Identity, decode, encode
from tests.supernets.tiny import DIGITS, load_digits, plainly

SIZE = {"channels": 4, "cells": 1}
NB201 = space_of(SpaceSpec(nas_bench201=NasBench201.model_validate({"search": SIZE, "final": SIZE})))
STACK = {"search": {"channels": 2, "cells": 3}}
SPACES = {
    "nasbench201": NB201,
    "darts": space_of(SpaceSpec.model_validate({"dartsCells": STACK | {"nodes": 2}})),
    "nasnet": space_of(SpaceSpec.model_validate({"nasnetCells": STACK | {"nodes": 2}})),
    "macro": space_of(SpaceSpec.model_validate({"enasMacro": {"layers": 4, "search": {"channels": 2}}})),
    "elastic": space_of(
        SpaceSpec.model_validate(
            {
                "elasticChain": {
                    "stem": {"channels": 8},
                    "stages": [{"channels": 8, "depths": [1, 2]}, {"channels": 8, "depths": [1, 2], "stride": 2}],
                    "headChannels": 16, "kernels": [3, 5], "expansions": [1, 2], "search": {"widthPercent": 100},
                }
            }
        )
    ),
}  # fmt: skip
controllers = pytest.mark.parametrize("controller", ["LSTM", "Softmax"])
FEW = {"epochs": 2, "batchSize": 16, "controllerSteps": 2, "samples": 2, "derivedSamples": 3}
IDENTITY = Identity("team/digits", "digits-abcde-0", "a" * 64)


def images(count: int) -> ImageData:
    """The first digits of each part."""
    data = load_digits("None")
    return replace(data, weights=data.weights.first(count), architecture=data.architecture.first(count))


def enas(space: Space = NB201, data: ImageData | None = None, **settings: Any) -> Enas:
    torch.manual_seed(1)
    data = data or images(64)
    network = supernet(space, signature=data.signature)
    return Enas(space, network, data, Training(), Settings.model_validate(FEW | settings), seed=7)


def go_on() -> bool:
    return False


def copied(state: State) -> State:
    """As it comes back from a file."""
    return decode(encode(state, IDENTITY), IDENTITY)


def everything(search: Enas) -> dict[str, Tensor]:
    shared = {f"shared/{name}": value for name, value in search.network.state_dict().items()}
    return {n: v.clone() for n, v in (shared | dict(search.policy.state_dict())).items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@controllers
@pytest.mark.parametrize("name", SPACES)
def test_every_space_is_searched_to_one_of_its_architectures(name: str, controller: str) -> None:
    space = SPACES[name]
    search = enas(space, controller=controller)
    reports = [search.run_epoch(go_on) for _ in range(2)]
    assert [report.epoch for report in reports if report] == [1, 2]
    assert all(report is not None and 0 <= report.reward <= 1 and report.loss > 0 for report in reports)
    for found in (search.architecture(), search.derive()):
        assert space.architecture(found.values) == found
    assert search.derive() == search.derive()


def test_steps_of_the_weights_leave_the_policy_alone_and_the_other_way_round() -> None:
    search = enas()
    asked = chain(repeat(False, 4), repeat(True))  # 64 images are 4 steps of 16
    before = everything(search)
    assert search.run_epoch(lambda: next(asked)) is None
    between = everything(search)
    assert search.shared.epoch == 1
    assert search.epoch == 0
    weights = changed(before, between)
    assert weights
    assert all(name.startswith("shared/") for name in weights)
    assert search.run_epoch(go_on) is not None
    policy = changed(between, everything(search))
    assert policy == {name for name in before if not name.startswith("shared/")}


def test_a_step_trains_the_drawn_path_and_nothing_else() -> None:
    search = enas(weightDecay="0.1")
    asked = chain(repeat(False, 1), repeat(True))
    before = everything(search)
    assert search.run_epoch(lambda: next(asked)) is None
    moved = changed(before, everything(search))
    edges = {name.partition(".edges.")[2].split(".")[0] for name in before if ".edges." in name}
    assert len(edges) == 6
    for edge in edges:
        trained = {n.partition(f".edges.{edge}.")[2].split(".")[0] for n in moved if f".edges.{edge}." in n}
        assert len(trained) <= 1


@pytest.mark.parametrize("stop", [2, 5, 7], ids=["weights", "policy", "next-epoch"])
def test_a_resumed_search_is_bit_equal_to_an_undisturbed_one(stop: int) -> None:
    whole, first, again = enas(), enas(), enas()
    reports = [whole.run_epoch(go_on) for _ in range(2)]
    asked = chain(repeat(False, stop), repeat(True))
    found: list[EnasReport | None] = list(iter(lambda: first.run_epoch(lambda: next(asked)), None))
    again.load(copied(first.state()))
    while again.epoch < 2:
        found.append(again.run_epoch(go_on))
    assert found == reports
    assert changed(everything(whole), everything(again)) == set()
    assert whole.reinforce.baseline == again.reinforce.baseline
    assert whole.derive() == again.derive()


def test_a_state_of_another_search_is_refused() -> None:
    tensors, place = enas().state()
    with pytest.raises(ValueError, match=r"space must be \w+ as in this search, but got other"):
        enas().load((tensors, {**place, "space": "other"}))
    with pytest.raises(ValueError, match="step must be below the 2 of the policy, but got 2 of epoch 0"):
        enas().load((tensors, {**place, "step": 2}))
    with pytest.raises(ValueError, match="the state must hold policy/"):
        enas().load(({name: value for name, value in tensors.items() if not name.startswith("policy/")}, place))
    with pytest.raises(ValueError, match="rewards and baseline must be numbers"):
        enas().load((tensors, {**place, "baseline": "high"}))
    with pytest.raises(ValueError, match="the state must hold shared"):
        enas().load((tensors, {**place, "shared": 3}))
    with pytest.raises(ValueError, match="report must be that of an epoch"):
        enas().load((tensors, {**place, "report": {"epochs": 3}}))


def test_a_reward_is_the_accuracy_on_a_batch_and_changes_nothing() -> None:
    search = enas()
    search.run_epoch(go_on)
    before = everything(search)
    one, batch = NB201.at(4711), 1
    reward = search.reward(one, batch)
    assert changed(before, everything(search)) == set()
    half = DIGITS.architecture
    with torch.no_grad():
        answers = search.network(plainly(half.inputs[16:32]), one.values).argmax(1)
    assert reward == pytest.approx(float((answers == half.targets[16:32]).double().mean()))


@controllers
def test_it_finds_the_cell_that_is_clearly_better(controller: str) -> None:
    """Of two: one that sees the image, and one that does not. All other choices have one option."""
    free = {"cell/3/0": ("none", "nor_conv_3x3")}
    two = replace(NB201, choices=tuple(replace(c, options=free.get(c.name, ("none",))) for c in NB201.choices))
    search = enas(
        two, images(320), controller=controller, epochs=6, batchSize=32, learningRate="0.1", controllerSteps=20,
        samples=4, controllerLearningRate="0.02",
    )  # fmt: skip
    better = two.architecture({c.name: c.options[-1] for c in two.choices})
    at_first = search.policy.of(better).log_probability.exp().item()
    rewards = [report.reward for _ in range(6) if (report := search.run_epoch(go_on))]
    assert 0.4 < at_first < 0.6
    assert search.policy.of(better).log_probability.exp().item() > 0.85
    assert search.architecture() == search.derive() == better
    assert rewards[-1] > rewards[0] + 0.1
