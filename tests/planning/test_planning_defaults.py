"""What a search is where its spec is silent, that the status says why, and that a raised budget changes none of it."""

from __future__ import annotations

from typing import Any

import pytest
from world import World, spec_of

from archsearch.api import ArchitectureSearchSpec
from archsearch.planning import reasons, resolve


def silent(**changes: Any) -> Any:
    spec = spec_of(**changes)
    left_out = {name: None for name in ("space", "algorithm", "evaluation") if name not in changes}
    return spec.model_copy(update=left_out)


LATENCY = {"metric": "latencyMs", "profile": "default"}


LIMIT = {"constraints": [LATENCY | {"max": "5"}], "artifacts": {"claimName": "artifacts"}}
ELASTIC = {"space": {"elasticChain": {}}}


@pytest.mark.parametrize(
    ("changes", "space", "algorithm", "reason"),
    [
        ({"budget": {"maxTrials": 60}}, "dartsCells", "gaussianProcess", "budget.maxTrials is 60"),
        ({"budget": {"maxTrials": 4}}, "dartsCells", "differentiable", "budget.maxTrials is 4"),
        ({"budget": {"maxTrials": 60, "gpuHours": "3"}}, "dartsCells", "differentiable", "budget.gpuHours is 3"),
        ({"budget": {"maxTrials": 60, "gpuHours": "300"}}, "dartsCells", "gaussianProcess", "budget.maxTrials is 60"),
        (
            {"budget": {"maxTrials": 4}, "objectives": [{"metric": "accuracy"}, {"metric": "flops"}]},
            "dartsCells",
            "gaussianProcess",
            "there are 2 objectives",
        ),
        (
            {"constraints": [LATENCY | {"max": "5"}], "artifacts": None},
            "mbconvChain",
            "differentiable",
            "maxTrials is 6",
        ),
        (LIMIT | {"budget": {"maxTrials": 60}}, "mbconvChain", "differentiable", "latencyMs must be at most 5"),
        (
            LIMIT | {"objectives": [{"metric": "accuracy"}, LATENCY]},
            "mbconvChain",
            "gaussianProcess",
            "there are 2 objectives",
        ),
        (ELASTIC | {"budget": {"maxTrials": 4}}, "elasticChain", "gaussianProcess", "one architecture at a time"),
        (
            {"budget": {"maxTrials": 4}, "evaluation": {"zeroCost": {}}},
            "dartsCells",
            "gaussianProcess",
            "evaluation says",
        ),
    ],
)
def test_the_first_rule_that_fits_decides_and_the_reason_names_what_it_looked_at(changes, space, algorithm, reason):
    spec = silent(**changes)
    whole = resolve(spec, "image")
    assert whole.space.member[0] == space
    assert whole.algorithm.member[0] == algorithm
    assert (whole.evaluation is None) == (algorithm == "differentiable")
    said = {item.field: item for item in reasons(spec)}
    assert said["algorithm"].value == algorithm
    assert "space" in changes or said["space"].value == space
    assert reason in said["algorithm"].reason


def test_a_task_has_its_own_space_and_an_algorithm_that_fits_it():
    task = {"translation": {"dataset": {"builtin": "numberWords"}}}
    spec = ArchitectureSearchSpec.model_validate({"task": task, "budget": {"maxTrials": 4}})
    whole = resolve(spec, "image")
    ArchitectureSearchSpec.model_validate(whole.wire())
    assert whole.space.member[0] == "elasticTransformer"
    assert whole.algorithm.member[0] == "gaussianProcess"
    assert [objective.metric for objective in whole.objectives] == ["bleu"]
    assert {item.field: item.reason for item in reasons(spec)} == {
        "space": "it is the space of translation",
        "algorithm": "the supernet of elasticTransformer runs one architecture at a time",
    }


def test_a_latency_limit_is_in_the_loss_and_its_table_is_measured_first():
    whole = resolve(silent(**LIMIT), "image")
    ArchitectureSearchSpec.model_validate(whole.wire())
    (profile,) = whole.profiles
    assert profile.search_latency.measured_table is not None
    loss = whole.algorithm.differentiable.hardware_loss
    assert (loss.metric, loss.profile, loss.target) == ("latencyMs", "default", "5")
    assert whole.algorithm.differentiable.samples == 6  # of which the best within the limit is the result
    settled = whole.wire()
    assert resolve(silent(**LIMIT), "image", settled) == whole
    # A search that an earlier version has begun is not given a table afterwards.
    before = settled | {"profiles": [{"name": "default"}], "algorithm": {"gaussianProcess": {}}}
    assert resolve(silent(**LIMIT), "image", before).profiles[0].search_latency is None


def test_what_is_written_is_kept_and_needs_no_reason():
    spec = spec_of()
    assert resolve(spec, "image").algorithm == spec.algorithm
    assert reasons(spec) == ()


def test_the_default_for_many_trials_has_short_trainings_before_full_ones():
    whole = resolve(silent(budget={"maxTrials": 60}), "image")
    assert whole.evaluation.train.fidelities == (5,)
    assert whole.evaluation.fidelities == (0.25, 1.0)
    written = resolve(spec_of(algorithm={"gaussianProcess": {}}).model_copy(update={"evaluation": None}), "image")
    assert written.evaluation.train.fidelities == ()


def test_a_budget_that_is_raised_while_a_search_runs_does_not_change_its_algorithm():
    world = World(silent(budget={"maxTrials": 4, "parallelTrials": 1}))
    status = world.settle().status
    assert {item.field: item.value for item in status.defaults} == {
        "space": "dartsCells", "algorithm": "differentiable",
    }  # fmt: skip
    world.change(silent(budget={"maxTrials": 400, "parallelTrials": 1}))
    assert world.search.spec.algorithm.member[0] == "differentiable"
    assert world.search.spec.evaluation is None
    (_, chosen) = world.settle().status.defaults
    assert chosen.reason == "chosen when the search started, and kept although its budget was changed"


def test_settings_that_somebody_has_broken_are_not_believed():
    spec = silent(budget={"maxTrials": 60})
    for broken in ({"algorithm": {"magic": {}}}, {"task": 1}, {}):
        assert resolve(spec, "image", broken) == resolve(spec, "image")
