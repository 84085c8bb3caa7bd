"""The work Supernet with every differentiable method: an architecture of the space, whatever happens in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from archsearch.api.methods import Method
from archsearch.api.space import Space
from archsearch.spaces import space_of

if TYPE_CHECKING:
    from tests.work.conftest import Stopping, Workplace

SMALL = {"nasBench201": {"search": {"channels": 4, "cells": 1}, "final": {"channels": 4, "cells": 1}}}


def algorithm(method: str, **changes: Any) -> dict[str, Any]:
    said = {"method": method, "epochs": 3, "batchSize": 128, **changes}
    return {"differentiable": said | ({"finetuneEpochs": 1} if method == "DARTSPT" else {})}


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_ends_with_an_architecture_of_the_space(workplace: Workplace, method: str) -> None:
    ending = workplace.run(workplace.document("Supernet", space=SMALL, algorithm=algorithm(method)))
    message = ending.message
    assert ending.code == 0
    assert message.architecture is not None
    space = space_of(Space.model_validate(SMALL))
    assert dict(space.architecture(message.architecture).values) == dict(message.architecture)
    assert message.metrics.keys() == {"accuracy", "loss", "parameters", "flops", "activationMiB"}
    assert len(message.curve) == (8 if method == "DARTSPT" else 3)


@pytest.mark.parametrize("method", ["FBNet", "PDARTS", "DARTSPT"])
def test_an_interruption_at_any_step_changes_nothing(
    workplace: Workplace, stopping: type[Stopping], method: str
) -> None:
    """Of methods that have more than weights to remember, or that look at several architectures at the end."""
    document = workplace.document("Supernet", space=SMALL, algorithm=algorithm(method))
    whole = workplace.run(document)
    assert whole.code == 0
    interruptions = 0
    while (ending := workplace.run(document, stopping(after=13))).code == 143:
        interruptions += 1
        assert interruptions < 40
    assert interruptions >= 1
    assert ending.code == 0
    assert ending.text == whole.text


def test_the_best_of_the_samples_is_the_result(workplace: Workplace) -> None:
    """One of several that are drawn: its accuracy is at least that of the search that draws one."""
    found = {}
    for samples in (1, 16):
        said = algorithm("FBNet", samples=samples)
        found[samples] = workplace.run(workplace.document("Supernet", space=SMALL, algorithm=said)).message
    assert found[16].metrics["accuracy"] >= found[1].metrics["accuracy"]
    assert found[16].architecture is not None


def test_preflight_refuses_channels_that_cannot_be_divided(workplace: Workplace) -> None:
    said = algorithm("PCDARTS", partialChannels=3)
    ending = workplace.run(workplace.document("Preflight", space=SMALL, algorithm=said))
    assert ending.code == 3
    assert "algorithm.differentiable: partialChannels must divide an edge's channels (4)" in str(ending.message.error)
