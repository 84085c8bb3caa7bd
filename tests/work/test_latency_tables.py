"""Latency before anything is trained: a measured table, and what trials make of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from archsearch.hardware.costs import CostTable
from archsearch.spaces import Architecture

PROFILE = {"name": "here", "batchSize": 1, "warmup": 1, "iterations": 10}
MEASURED = PROFILE | {"searchLatency": {"measuredTable": {"networks": 20}}}


def measured(workplace: Any) -> Any:
    return workplace.run(workplace.document("Table", spec={"profile": "here"}, profile=MEASURED, profiles=[MEASURED]))


def train(workplace: Any, artifact: dict[str, Any], **changed: Any) -> Any:
    cell = {"cell/1/0": "nor_conv_3x3", "cell/2/0": "skip_connect", "cell/2/1": "nor_conv_1x1",
            "cell/3/0": "skip_connect", "cell/3/1": "none", "cell/3/2": "nor_conv_3x3"}  # fmt: skip
    table = {"profile": "here", "uri": artifact["uri"], "sha256": artifact["sha256"]}
    spec = {"architecture": cell, "epochs": 1, "tables": [table]}
    return workplace.run(workplace.document("Train", spec=spec, profiles=[MEASURED], **changed))


def test_a_table_is_measured_kept_and_believed(workplace: Any) -> None:
    ending = measured(workplace)
    assert ending.code == 0, ending.log
    (artifact,) = ending.message.artifacts
    assert artifact.format == "json"
    table = CostTable.model_validate(json.loads(workplace.artifacts.joinpath(*artifact.uri.split("/")[4:]).read_text()))
    assert (table.metric, table.networks, table.batch_size) == ("latencyMs", 20, 1)
    assert table.device
    assert ending.message.metrics["tableError"] == pytest.approx(table.error, rel=1e-6)
    trained = train(workplace, artifact.wire())
    assert trained.code == 0, trained.log
    expected = table.of(Architecture(trained.message.architecture))
    assert trained.message.metrics["latencyMs@here"] == pytest.approx(expected)


def test_what_the_table_finds_too_slow_is_not_trained(workplace: Any) -> None:
    (artifact,) = measured(workplace).message.artifacts
    limit = [{"metric": "latencyMs", "profile": "here", "max": "0.000001"}]
    ending = train(workplace, artifact.wire(), constraints=limit)
    assert ending.code == 42
    assert "latencyMs@here must be at most 0.000001, but got" in str(ending.message.error)
    assert ending.message.metrics["latencyMs@here"] > 0
    assert not any("epoch 1" in line for line in ending.log)


def test_a_trial_can_measure_its_own_network(workplace: Any) -> None:
    profile = PROFILE | {"searchLatency": {"trial": {}}}
    spec = {"epochs": 1, "architecture": {f"cell/{node}/{source}": "nor_conv_1x1" for node in (1, 2, 3)
                                          for source in range(node)}}  # fmt: skip
    ending = workplace.run(workplace.document("Train", spec=spec, profiles=[profile]))
    assert ending.code == 0, ending.log
    assert ending.message.metrics["latencyMs@here"] > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table | {"space": "0" * 12}, "must be of the space"),
        (lambda table: table | {"shape": [3, 8, 8]}, "must be of the space"),
        (lambda table: table | {"fixed": "fast"}, "fixed"),
        (lambda table: [], "document: Input should be"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(workplace: Any, change: Any, said: str) -> None:
    (artifact,) = measured(workplace).message.artifacts
    path = workplace.artifacts.joinpath(*artifact.uri.split("/")[4:])
    content = json.dumps(change(json.loads(path.read_text()))).encode()
    path.write_bytes(content)
    ending = train(workplace, artifact.wire())
    assert ending.code == 3
    assert "must have the sha256" in str(ending.message.error)
    ending = train(workplace, artifact.wire() | {"sha256": hashlib.sha256(content).hexdigest()})
    assert ending.code == 3
    assert said in str(ending.message.error)


def test_an_unknown_shipped_table_is_refused(workplace: Any) -> None:
    profile = PROFILE | {"searchLatency": {"shippedTable": "abacus"}}
    spec = {"epochs": 1, "architecture": {f"cell/{node}/{source}": "nor_conv_1x1" for node in (1, 2, 3)
                                          for source in range(node)}}  # fmt: skip
    ending = workplace.run(workplace.document("Train", spec=spec, profiles=[profile]))
    assert ending.code == 3
    assert "shippedTable must be one of" in str(ending.message.error)
