"""A trial that is one whole search by ENAS: its result, its interruption, and what a searcher's trial is told."""

from __future__ import annotations

from typing import Any

import pytest

SETTINGS = {"epochs": 2, "batchSize": 64, "controllerSteps": 3, "samples": 2, "derivedSamples": 3}


def search(workplace: Any, **changed: Any) -> dict[str, Any]:
    document: dict[str, Any] = workplace.document(
        "Supernet", spec={"epochs": 2}, algorithm={"enas": SETTINGS}, evaluation=None, **changed
    )
    return document


def test_its_result_is_an_architecture_with_what_it_is_worth_and_costs(workplace: Any) -> None:
    ending = workplace.run(search(workplace))
    assert ending.code == 0, ending.log
    message = ending.message
    assert message.metrics.keys() == {"accuracy", "loss", "parameters", "flops", "activationMiB"}
    assert message.architecture.keys() == {"cell/1/0", "cell/2/0", "cell/2/1", "cell/3/0", "cell/3/1", "cell/3/2"}
    assert [point.epoch for point in message.curve] == [1, 2]
    assert workplace.run(search(workplace)).message == message


@pytest.mark.parametrize("after", [4, 12, 16])
def test_an_interrupted_search_ends_as_an_undisturbed_one(workplace: Any, stopping: Any, after: int) -> None:
    whole = workplace.run(search(workplace) | {"trial": "digits-abcde-1"})
    stopped = workplace.run(search(workplace), stopping(after))
    assert stopped.code == 143
    resumed = workplace.run(search(workplace))
    assert resumed.code == 0
    assert any("going on from a checkpoint" in line for line in resumed.log)
    assert resumed.message == whole.message
