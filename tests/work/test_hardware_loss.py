"""A supernet that learns to be cheap: the heavier the cost weighs, the smaller what it finds."""

from __future__ import annotations

from typing import Any

import pytest

CHAIN = {
    "mbconvChain": {
        "stem": {"channels": 8},
        "stages": [{"channels": 8, "layers": 2}, {"channels": 16, "layers": 2, "stride": 2}],
        "headChannels": 16,
        "search": {"widthPercent": 100},
        "final": {"widthPercent": 100},
    }
}


def found(workplace: Any, method: str, loss: dict[str, str] | None, **changed: Any) -> Any:
    settings = {"method": method, "epochs": 2, "architectureLearningRate": "0.1", "warmupPercent": 0,
                "architectureEvery": 1}  # fmt: skip
    if loss is not None:
        settings["hardwareLoss"] = loss
    document = workplace.document(
        "Supernet", space=CHAIN, algorithm={"differentiable": settings}, evaluation=None, spec={"epochs": 2}, **changed
    )
    return workplace.run(document)


@pytest.mark.parametrize("method", ["ProxylessNAS", "FBNet"])
def test_the_more_a_cost_weighs_the_smaller_is_what_is_found(workplace: Any, method: str) -> None:
    add = {"metric": "parameters", "form": "Add", "target": "1k", "scale": "10"}
    cheap, free = found(workplace, method, add), found(workplace, method, None)
    assert cheap.code == 0, cheap.log
    assert any("expected parameters: from " in line for line in cheap.log)
    assert cheap.message.metrics["parameters"] < 0.8 * free.message.metrics["parameters"]


@pytest.mark.parametrize(
    "loss",
    [
        {"metric": "flops", "form": "MultiplyLog", "target": "100k", "power": "0.3"},
        {"metric": "parameters", "form": "Multiply", "scale": "0.2", "power": "0.6"},
    ],
    ids=["proxylessnas", "fbnet"],
)
def test_the_published_forms_run(workplace: Any, loss: dict[str, str]) -> None:
    ending = found(workplace, "FBNet", loss)
    assert ending.code == 0, ending.log


def test_latency_is_expected_from_the_profiles_table(workplace: Any) -> None:
    profile = {"name": "here", "warmup": 1, "iterations": 10, "searchLatency": {"measuredTable": {"networks": 40}}}
    measured = workplace.run(
        workplace.document("Table", space=CHAIN, spec={"profile": "here"}, profile=profile, profiles=[profile])
    )
    (artifact,) = measured.message.artifacts
    table = {"profile": "here", "uri": artifact.uri, "sha256": artifact.sha256}
    loss = {"metric": "latencyMs", "profile": "here", "form": "Add", "target": "0.1", "scale": "10"}
    settings = {"method": "ProxylessNAS", "epochs": 1, "hardwareLoss": loss, "warmupPercent": 0}
    document = workplace.document(
        "Supernet", space=CHAIN, algorithm={"differentiable": settings}, evaluation=None,
        spec={"epochs": 1, "tables": [table]}, profiles=[profile],
    )  # fmt: skip
    ending = workplace.run(document)
    assert ending.code == 0, ending.log
    assert any("expected latencyMs: from 40 networks" in line for line in ending.log)
    assert ending.message.metrics["latencyMs@here"] > 0


def test_a_target_that_has_no_logarithm_is_refused(workplace: Any) -> None:
    ending = found(workplace, "FBNet", {"metric": "parameters", "form": "MultiplyLog", "target": "1"})
    assert ending.code == 3
    assert "hardwareLoss.target must be larger, but got 1" in str(ending.message.error)
