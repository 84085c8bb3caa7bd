"""A task of the user's own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from archsearch.api.base import Model, ModuleName, distinct
from archsearch.api.custom import Settings
from archsearch.api.metrics import LearnedMetric
from archsearch.api.training import Training, VolumeSource


class CustomTask(Model):
    """A task in the user's own trial image: a function that gives its data, split, with their loss and metrics. A
    preflight tries it."""

    module: ModuleName
    """The function, `package.module:load` (`archsearch.tasks.custom`)."""
    volume: VolumeSource | None = None
    """Where the data are; None where the image or the function has them."""
    settings: Settings = Field(default={})
    """What the function is called with."""
    metrics: Annotated[tuple[LearnedMetric, ...], Field(min_length=1, max_length=4)] = ("accuracy",)
    """What the data say of a network beside its loss, the one to go by first; `score` is any number of which more is
    better."""
    training: Training = Training()
    """How a network is trained from scratch."""

    rules, checks = distinct("metrics")
