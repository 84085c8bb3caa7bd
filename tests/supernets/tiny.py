"""The smallest searches that have everything: both cell types, a choice of inputs, `none`, batch normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from archsearch.api import DartsCells
from archsearch.api import Space as SpaceSpec
from archsearch.api.differentiable import Differentiable
from archsearch.api.signature import image_signature
from archsearch.api.task import Task
from archsearch.evaluation import derive
from archsearch.networks import Mix, SpaceNetwork, supernet
from archsearch.spaces import Space, space_of
from archsearch.supernets import Bilevel, Parts, Recipe
from archsearch.supernets.search import Search, differentiable_search, network_options
from archsearch.supernets.shared import worth
from archsearch.tasks import ImageData, Split, load

OPERATIONS = ("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3", "dil_conv_3x3")
SPACE = space_of(
    SpaceSpec(
        darts_cells=DartsCells.model_validate(
            {"nodes": 2, "operations": OPERATIONS, "search": {"channels": 2, "cells": 3}}
        )
    )
)
SHAPE, CLASSES = (1, 8, 8), 10


def load_digits(augmentation: str = "Shift") -> ImageData:
    training = {"augmentation": augmentation}
    task = Task.model_validate({"imageClassification": {"dataset": {"builtin": "digits"}, "training": training}})
    data = load(task, None)
    assert isinstance(data, ImageData)
    return data


DIGITS = load_digits()


def network(
    space: Space = SPACE, dtype: torch.dtype = torch.float32, settings: Differentiable | None = None
) -> SpaceNetwork:
    torch.manual_seed(0)
    options = network_options(settings) if settings else {}
    return supernet(space, signature=image_signature(SHAPE, CLASSES), **options).to(dtype)


def plainly(images: Tensor) -> Tensor:
    prepared = DIGITS.prepare(Split(images, torch.zeros(len(images), dtype=torch.int64))).inputs
    assert isinstance(prepared, Tensor)
    return prepared


def exactly(images: Tensor) -> Tensor:
    """Inputs in the precision in which gradients are compared."""
    return plainly(images).double()


@dataclass(frozen=True)
class Prepared(ImageData):
    """Digits that a function prepares, without random changes."""

    function: Callable[[Tensor], Tensor] = field(default=plainly, kw_only=True)

    def prepare(self, batch: Split, changes: torch.Generator | None = None) -> Split:
        assert isinstance(batch.inputs, Tensor)
        images = self.function(batch.inputs)
        return Split(images.contiguous(memory_format=torch.channels_last), batch.targets)


def halves(images: int, prepare: Callable[[Tensor], Tensor] = plainly, architecture: int | None = None) -> Prepared:
    """The first images of both halves, as many of the one for the architecture as of the other if nothing is said."""
    return Prepared(
        DIGITS.signature, DIGITS.weights.first(images), DIGITS.architecture.first(architecture or images),
        DIGITS.selection.first(64), DIGITS.test, function=prepare,
    )  # fmt: skip


def bilevel(
    settings: Differentiable,
    *,
    seed: int = 3,
    images: int = 28,
    space: Space = SPACE,
    dtype: torch.dtype = torch.float32,
    prepare: Callable[[Tensor], Tensor] | None = None,
    parts: Parts | None = None,
) -> Bilevel:
    """A search on the first images of both halves."""
    return Bilevel(
        space, network(space, dtype, settings),
        halves(images, prepare or (exactly if dtype is torch.float64 else plainly)), Recipe.of(settings), seed=seed,
        parts=parts,
    )  # fmt: skip


def search(
    settings: Differentiable,
    *,
    seed: int = 3,
    images: int = 28,
    space: Space = SPACE,
    dtype: torch.dtype = torch.float32,
) -> Search:
    """A whole search of any method on the first images of both halves, as the work Supernet makes it."""

    data = halves(images, exactly if dtype is torch.float64 else plainly)

    def build(of: Space, own: int) -> SpaceNetwork:
        torch.manual_seed(derive(own))
        return supernet(of, signature=image_signature(SHAPE, CLASSES), **network_options(settings)).to(dtype)

    def judge(shared: SpaceNetwork, mix: Mix) -> tuple[float, ...]:
        return worth(shared, mix, data, data.selection)

    return differentiable_search(space, data, settings, build=build, judge=judge, seed=seed)
