"""The smallest searches that have everything: both cell types, a choice of inputs, `none`, batch normalisation."""

from __future__ import annotations

import torch
from torch import Tensor

from archsearch.api import DartsCells
from archsearch.api import Space as SpaceSpec
from archsearch.api.differentiable import Differentiable
from archsearch.api.task import Dataset, ImageClassification, Task
from archsearch.evaluation import derive
from archsearch.networks import Mix, SpaceNetwork, supernet
from archsearch.spaces import Space, space_of
from archsearch.supernets import Bilevel, Parts, Prepare, Recipe
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
DIGITS: ImageData = load(Task(image_classification=ImageClassification(dataset=Dataset(builtin="digits"))), None)


def network(
    space: Space = SPACE, dtype: torch.dtype = torch.float32, settings: Differentiable | None = None
) -> SpaceNetwork:
    torch.manual_seed(0)
    options = network_options(settings) if settings else {}
    return supernet(space, shape=SHAPE, classes=CLASSES, **options).to(dtype)


def part(split: Split, images: int) -> Split:
    return Split(split.images[:images], split.labels[:images])


def exactly(images: Tensor, _generator: torch.Generator) -> Tensor:
    """Inputs in the precision in which gradients are compared."""
    return DIGITS.normalise(images).double()


def plainly(images: Tensor, _generator: torch.Generator) -> Tensor:
    return DIGITS.normalise(images)


def bilevel(
    settings: Differentiable,
    *,
    seed: int = 3,
    images: int = 28,
    space: Space = SPACE,
    dtype: torch.dtype = torch.float32,
    prepare: Prepare | None = None,
    parts: Parts | None = None,
) -> Bilevel:
    """A search on the first images of both halves."""
    return Bilevel(
        space, network(space, dtype, settings), part(DIGITS.weights, images), part(DIGITS.architecture, images),
        Recipe.of(settings), seed=seed, prepare=prepare or (exactly if dtype is torch.float64 else plainly),
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

    def build(of: Space, own: int) -> SpaceNetwork:
        torch.manual_seed(derive(own))
        return supernet(of, shape=SHAPE, classes=CLASSES, **network_options(settings)).to(dtype)

    def judge(shared: SpaceNetwork, mix: Mix) -> tuple[float, ...]:
        return worth(shared, mix, DIGITS, part(DIGITS.selection, 64))

    return differentiable_search(
        space, part(DIGITS.weights, images), part(DIGITS.architecture, images), settings,
        build=build, judge=judge, prepare=exactly if dtype is torch.float64 else plainly, seed=seed,
    )  # fmt: skip
