"""Differentiable search over sequences learns, and goes on bit-equal after an interruption, dropout and all."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archsearch.api import Space as SpaceSpec
from archsearch.api.differentiable import Differentiable
from archsearch.api.signature import Input, Signature
from archsearch.networks import Mix, SpaceNetwork, supernet
from archsearch.spaces import Space, space_of
from archsearch.supernets.search import differentiable_search, network_options
from archsearch.supernets.shared import worth
from archsearch.tasks.base import Split
from archsearch.tasks.text import TextData

SPACES: dict[str, dict[str, Any]] = {
    "sequenceCells": {
        "nodes": 1, "embedding": 4, "search": {"channels": 4, "cells": 1},
        "operations": ["none", "skip_connect", "sep_conv_3", "attention", "recurrent"],
    },
    "sequenceChain": {
        "stem": {"channels": 8}, "stages": [{"channels": 8, "layers": 2}], "headChannels": 8, "embedding": 4,
        "blocks": ["k3e1", "attention"],
    },
}  # fmt: skip


def tokens(seed: int) -> Split:
    """Texts of which those of class 1 hold the token 7 somewhere."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(2, 7, (48, 6), generator=generator)
    labels = torch.arange(48) % 2
    places = torch.randint(6, (48,), generator=generator)
    inputs[torch.arange(48), places] = torch.where(labels == 1, 7, inputs[torch.arange(48), places])
    return Split(inputs, labels)


DATA = TextData(
    Signature(inputs=(Input(name="tokens", shape=(6,), vocabulary=8),), outputs="Classes", classes=2),
    weights=tokens(0), architecture=tokens(1), selection=tokens(2), test=tokens(3), augmentation="WordDropout",
)  # fmt: skip


def search(space: Space, method: str) -> Any:
    settings = Differentiable.model_validate(
        {"method": method, "epochs": 8, "batchSize": 16, "learningRate": "0.1", "order": "First"}
        if method == "DARTS"
        else {"method": method, "epochs": 8, "batchSize": 16, "learningRate": "0.1"}
    )

    def build(of: Space, own: int) -> SpaceNetwork:
        torch.manual_seed(own)
        return supernet(of, signature=DATA.signature, **network_options(settings))

    def judge(shared: SpaceNetwork, mix: Mix) -> tuple[float, ...]:
        return worth(shared, mix, DATA, DATA.selection)

    return differentiable_search(space, DATA, settings, build=build, judge=judge, seed=1)


@pytest.mark.parametrize("method", ["DARTS", "GDAS"])
@pytest.mark.parametrize("name", SPACES)
def test_a_search_over_sequences_learns_and_goes_on_as_if_never_interrupted(name: str, method: str) -> None:
    space = space_of(SpaceSpec.model_validate({name: SPACES[name]}))
    whole = search(space, method)
    losses = [whole.run_epoch(lambda: False).loss for _ in range(8)]
    assert min(losses[4:]) < losses[0]
    first = search(space, method)
    asked = iter([False] * 4 + [True])
    while first.run_epoch(lambda: next(asked)) is not None:
        pass
    second = search(space, method)
    second.load(first.state())
    while second.epoch < second.epochs:
        second.run_epoch(lambda: False)
    tensors, expected = second.state()[0], whole.state()[0]
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[key], expected[key]) for key in expected)
    assert second.architecture() == whole.architecture()
