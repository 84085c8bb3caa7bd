"""Every differentiable method, and parts of methods in company that no paper has put them in."""

from __future__ import annotations

import pytest

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.api.differentiable import Differentiable
from archsearch.api.methods import METHODS
from archsearch.evaluation import EpochReport
from archsearch.spaces import Space, space_of
from archsearch.supernets.search import Search
from tests.supernets.tiny import SPACE

NB201 = space_of(SpaceSpec(nas_bench201=NasBench201.model_validate({"search": {"channels": 4, "cells": 1}})))

VARIANTS: dict[str, dict[str, object]] = {method: {"method": method} for method in METHODS}
VARIANTS |= {
    "ProxylessNAS, REINFORCE": {"method": "ProxylessNAS", "mixing": "OnePath", "architecture_every": 1},
    "SDARTS, adversarial": {"method": "SDARTS", "perturbation": "Adversarial"},
    "PC-DARTS of second order, with beta decay": {"method": "PCDARTS", "order": "Second", "beta_decay": "5"},
    "GDAS with DARTS-PT": {"method": "GDAS", "derivation": "Perturbation"},
    "DARTS, most probable": {"method": "DARTS", "derivation": "MostProbable"},
}
# PC-DARTS' quarter of 2 channels would be none.
SMALL = {"PCDARTS": {"partial_channels": 1}}

SAMPLED = {"GDAS", "ProxylessNAS"}
"""Methods whose supernet trains one operation of each choice in a step, which takes many steps."""

every_method = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())


def settings(variant: dict[str, object], space: Space, **changes: object) -> Differentiable:
    wanted = {**variant, **(SMALL.get(str(variant["method"]), {}) if space is SPACE else {}), **changes}
    if wanted.get("derivation", METHODS[wanted["method"]].get("derivation")) == "Perturbation":  # type: ignore[index]
        wanted["finetune_epochs"] = 1
    return Differentiable.model_validate(wanted)


def finish(training: Search) -> list[EpochReport]:
    reports = []
    while training.epoch < training.epochs:
        report = training.run_epoch(lambda: False)
        assert report is not None
        assert report.epoch == training.epoch
        reports.append(report)
    return reports
