"""The real work in real processes: a whole search on the digits, from a file to an ONNX model."""

from __future__ import annotations

import json
from hashlib import sha256

import numpy as np
import onnxruntime
import pytest
from local_runs import run_example

from archsearch.api import ArchitectureSearchStatus
from archsearch.local.log import Curve

SETTINGS = (
    "space={nasBench201: {search: {channels: 2, cells: 1}, final: {channels: 2, cells: 1}}}",
    "algorithm={random: {}}",
    "evaluation={train: {epochs: 1}}",
    "objectives=[{metric: accuracy}]",
    "constraints=null",
    "profiles=null",
    "budget={maxTrials: 2, parallelTrials: 2}",
    "retrain={topK: 1, seeds: 2, epochs: 1}",
    "artifacts.claimName=artifacts",
)


@pytest.mark.timeout(180)
def test_a_search_on_the_digits_ends_with_a_checked_model(tmp_path):
    out = tmp_path / "out"
    done = run_example("random-digits", out, SETTINGS)
    assert done.stderr == ""

    text = (out / "result.json").read_text()
    status = ArchitectureSearchStatus.model_validate_json(text, strict=True, extra="forbid")
    assert status.wire() == json.loads(text)
    assert status.stage == "Done"
    assert (status.trials.done, status.trials.succeeded) == ("2/2", 2)
    best = status.best
    assert 0 <= best.metrics["accuracy"] <= 1
    assert best.metrics["parameters"] > 0
    assert (best.retrained.metric, best.retrained.seeds) == ("testAccuracy", 2)
    assert 0 <= best.export_difference < 1e-4
    assert status.hardware[0].latency_ms.p50 > 0

    model, weights = (out / "model.onnx").read_bytes(), (out / "weights.safetensors").read_bytes()
    assert sha256(model).hexdigest() == best.artifacts[0].sha256
    assert len(weights) > 1000
    logits = onnxruntime.InferenceSession(model).run(None, {_input(model): np.zeros((3, 1, 8, 8), np.float32)})[0]
    assert logits.shape == (3, 10)

    # Early stopping reads the log's lines: they must be those that the work prints.
    for path in (out / "trials").glob("*.json"):
        record = json.loads(path.read_text())
        if record["spec"]["work"] in {"Train", "Retrain"}:
            curve = Curve(out / "logs" / f"{path.stem}.log", "accuracy").points()
            told = record["status"]["result"]["curve"]
            assert [point.epoch for point in curve] == [point["epoch"] for point in told] == [1]
            assert curve[0].value == pytest.approx(told[0]["value"], abs=5.1e-5)


@pytest.mark.timeout(300)
def test_a_search_on_the_digits_scores_a_pool_first(tmp_path):
    out = tmp_path / "out"
    settings = (
        *SETTINGS[:1],
        "algorithm={gaussianProcess: {initial: 2, zeroCost: {scores: [naswot, synflow], pool: 40}}}",
        *SETTINGS[2:6],
        "budget={maxTrials: 3, parallelTrials: 2}",
        "retrain={topK: 0}",
        "artifacts=null",
    )
    run_example("random-digits", out, settings)
    status = json.loads((out / "result.json").read_text())
    assert (status["stage"], status["trials"]["done"]) == ("Done", "3/3")
    records = [json.loads(path.read_text()) for path in (out / "trials").glob("*.json")]
    parts = [record for record in records if record["spec"]["work"] == "Features"]
    assert sorted(len(part["spec"]["architectures"]) for part in parts) == [8, 32]
    rows = [row for part in parts for row in part["status"]["result"]["results"]]
    assert {frozenset(row) for row in rows} == {frozenset({"naswot", "synflow"})}
    assert len({row["synflow"] for row in rows}) > 10
    trained = [record["status"]["sequence"] for record in records if record["spec"]["work"] == "Train"]
    assert max(part["status"]["sequence"] for part in parts) < min(trained)


def _input(model: bytes) -> str:
    name: str = onnxruntime.InferenceSession(model).get_inputs()[0].name
    return name
