"""Trials of many architectures: with shared weights, by scores at initialisation, and pools of which one is trained."""

from __future__ import annotations

import json
from typing import Any

import pytest

from archsearch.api.work import MAX_MESSAGE, InvalidMessage, Message, decode
from archsearch.evaluation.zero_cost import SCORES
from archsearch.planning.pipeline import SCORED

CELL = {
    "cell/1/0": "nor_conv_3x3", "cell/2/0": "skip_connect", "cell/2/1": "nor_conv_1x1",
    "cell/3/0": "skip_connect", "cell/3/1": "none", "cell/3/2": "nor_conv_3x3",
}  # fmt: skip
OTHER = CELL | {"cell/3/2": "nor_conv_1x1"}
EMPTY = dict.fromkeys(CELL, "none")
SHARED = {"sharedWeights": {"epochs": 2, "batchSize": 64, "recalibrationImages": 128}}


def trained(workplace: Any, **changed: Any) -> Any:
    return workplace.run(workplace.document("SharedWeights", spec={"epochs": 2}, evaluation=SHARED, **changed))


def evaluation(workplace: Any, artifact: Any, cells: list[dict[str, str]], **changed: Any) -> dict[str, Any]:
    spec = {"architectures": cells, "weights": {"uri": artifact.uri, "sha256": artifact.sha256}}
    document: dict[str, Any] = workplace.document("Evaluate", spec=spec, evaluation=SHARED, **changed)
    return document | {"trial": "digits-abcde-7"}


def test_a_supernet_is_trained_once_and_architectures_inherit_its_weights(workplace: Any) -> None:
    ending = trained(workplace)
    assert ending.code == 0, ending.log
    (artifact,) = ending.message.artifacts
    assert artifact.format == "safetensors"
    assert len(ending.message.curve) == 2
    ending = workplace.run(evaluation(workplace, artifact, [CELL, OTHER, CELL]))
    assert ending.code == 0, ending.log
    first, other, again = ending.message.results
    assert first.keys() == {"accuracy", "loss", "parameters", "flops", "activationMiB"}
    assert first == again
    assert first != other
    assert other["parameters"] < first["parameters"]


def test_one_beyond_a_limit_is_counted_and_not_evaluated(workplace: Any) -> None:
    (artifact,) = trained(workplace).message.artifacts
    limits = [{"metric": "parameters", "max": "5k"}]
    ending = workplace.run(evaluation(workplace, artifact, [CELL, EMPTY], constraints=limits))
    assert ending.code == 0, ending.log
    beyond, kept = ending.message.results
    assert beyond.keys() == {"parameters", "flops", "activationMiB"}
    assert beyond["parameters"] > 5000 >= kept["parameters"]
    assert "accuracy" in kept


def test_an_interrupted_batch_goes_on_where_it_was(workplace: Any, stopping: Any) -> None:
    (artifact,) = trained(workplace).message.artifacts
    cells = [CELL, OTHER, EMPTY, CELL]
    whole = workplace.run(evaluation(workplace, artifact, cells))
    stopped = workplace.run(evaluation(workplace, artifact, cells), stopping(after=4))
    assert stopped.code == 143
    assert any("told to stop after" in line and "after 0 of" not in line for line in stopped.log)
    resumed = workplace.run(evaluation(workplace, artifact, cells))
    assert resumed.code == 0
    assert resumed.message.results == whole.message.results
    assert sum(": accuracy " in line for line in resumed.log) < 4


def test_a_supernet_interrupted_and_resumed_is_the_same(workplace: Any, stopping: Any) -> None:
    whole = trained(workplace)
    stopped = workplace.run(
        workplace.document("SharedWeights", spec={"epochs": 2}, evaluation=SHARED) | {"trial": "other"}, stopping(5)
    )
    assert stopped.code == 143
    resumed = workplace.run(
        workplace.document("SharedWeights", spec={"epochs": 2}, evaluation=SHARED) | {"trial": "other"}
    )
    assert resumed.code == 0
    assert any("going on from a checkpoint" in line for line in resumed.log)
    assert resumed.message.artifacts[0].sha256 == whole.message.artifacts[0].sha256


def test_weights_of_another_space_are_refused(workplace: Any) -> None:
    (artifact,) = trained(workplace).message.artifacts
    other = {"nasBench201": {"search": {"channels": 4, "cells": 1}, "final": {"channels": 4, "cells": 1}}}
    ending = workplace.run(evaluation(workplace, artifact, [CELL], space=other))
    assert ending.code == 3
    assert "spec.weights must be of the space" in str(ending.message.error)


@pytest.mark.parametrize("score", ["naswot", "synflow", "parameters"])
def test_each_architecture_is_scored_in_order(workplace: Any, score: str) -> None:
    evaluated = {"zeroCost": {"score": score, "batches": 2, "batchSize": 16}}
    document = workplace.document("Score", spec={"architectures": [EMPTY, CELL, EMPTY]}, evaluation=evaluated)
    ending = workplace.run(document)
    assert ending.code == 0, ending.log
    empty, cell, again = ending.message.results
    assert empty == again
    assert cell["zeroCost"] > empty["zeroCost"]


PROCESS = {"gaussianProcess": {"zeroCost": {"scores": ["zico", "naswot", "synflow"]}}}


def features(workplace: Any, cells: list[dict[str, str]], **changed: Any) -> Any:
    return workplace.run(workplace.document("Features", spec={"architectures": cells}, algorithm=PROCESS, **changed))


def test_each_architecture_has_the_scores_that_are_asked_for(workplace: Any) -> None:
    """The same as trials of one score have."""
    ending = features(workplace, [CELL, EMPTY, CELL])
    assert ending.code == 0, ending.log
    cell, empty, again = ending.message.results
    assert cell == again
    assert cell.keys() == empty.keys() == {"zico", "naswot", "synflow"}
    assert cell["synflow"] > empty["synflow"]
    for name, value in cell.items():
        evaluated = {"zeroCost": {"score": name, "batches": 2, "batchSize": 64}}
        alone = workplace.run(workplace.document("Score", spec={"architectures": [CELL]}, evaluation=evaluated))
        assert alone.message.results[0]["zeroCost"] == value


def test_one_beyond_a_limit_has_no_scores(workplace: Any) -> None:
    ending = features(workplace, [CELL, EMPTY], constraints=[{"metric": "parameters", "max": "5k"}])
    assert ending.code == 0, ending.log
    beyond, kept = ending.message.results
    assert beyond == {}
    assert kept.keys() == {"zico", "naswot", "synflow"}


def test_a_score_that_is_no_finite_number_is_left_out(workplace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers overflow in networks that are deep or wide enough; here the score itself says so."""
    monkeypatch.setitem(SCORES, "naswot", lambda network, batches, loss: float("nan"))
    (cell,) = features(workplace, [CELL]).message.results
    assert cell.keys() == {"zico", "synflow"}


def test_scoring_stops_when_it_is_told_to(workplace: Any, stopping: Any) -> None:
    document = workplace.document("Features", spec={"architectures": [CELL] * 3}, algorithm=PROCESS)
    assert workplace.run(document, stopping(after=1)).code == 143


def test_features_need_to_be_told_of(workplace: Any) -> None:
    ending = workplace.run(workplace.document("Features", spec={"architectures": [CELL]}))
    assert ending.code == 3
    assert "algorithm.gaussianProcess.zeroCost must be set for Features" in str(ending.message.error)


def test_four_scores_of_as_many_architectures_as_a_trial_is_given_fit_in_a_message() -> None:
    longest = {"gradNorm": -1.23457e-100, "parameters": -1.23457e-100, "jacobCov": -1.23457e-100, "flops": -1.23457e99}
    assert len(Message(results=(longest,) * SCORED).encode()) <= MAX_MESSAGE


def test_of_a_pool_the_best_by_its_score_is_trained(workplace: Any) -> None:
    evaluated = {"train": {"epochs": 1, "prefilter": {"score": "parameters", "keep": "0.34"}}}
    spec = {"architectures": [EMPTY, CELL, OTHER], "epochs": 1}
    ending = workplace.run(workplace.document("Train", spec=spec, evaluation=evaluated))
    assert ending.code == 0, ending.log
    assert ending.message.architecture == CELL
    limits = [{"metric": "parameters", "max": "5k"}]
    ending = workplace.run(workplace.document("Train", spec=spec, evaluation=evaluated, constraints=limits))
    assert ending.message.architecture == EMPTY
    limits = [{"metric": "parameters", "max": "1"}]
    ending = workplace.run(workplace.document("Train", spec=spec, evaluation=evaluated, constraints=limits))
    assert ending.code == 42


def test_what_is_said_of_as_many_architectures_as_there_can_be_fits_in_a_message() -> None:
    longest = {"accuracy": 0.987654, "loss": 1.23456e-05, "parameters": 98765400.0, "flops": 1.23456e12}
    result = {name: float(f"{value:.6g}") for name, value in longest.items()}
    assert len(Message(results=(result,) * 64).encode()) <= MAX_MESSAGE
    assert decode(Message(results=(result, {}) * 32).encode()).results == (result, {}) * 32


@pytest.mark.parametrize(
    "broken",
    [
        {"resultCount": 2, "results": {"accuracy": [1.0]}},
        {"resultCount": 65, "results": {"accuracy": [1.0] * 65}},
        {"resultCount": "2", "results": {"accuracy": [1.0, 2.0]}},
        {"resultCount": 1, "results": {"accuracy": 1.0}},
        {"resultCount": 1, "results": {"accuracy": ["high"]}},
        {"resultCount": 1, "results": {"accuracy": [1e300]}},
        {"results": {"accuracy": [1.0]}},
        {"results": 7},
    ],
)
def test_results_that_do_not_fit_together_are_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage, match=r"result|metrics"):
        decode(json.dumps({"version": 1} | broken))
