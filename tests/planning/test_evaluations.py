"""Every way to evaluate, and what must be there before: batches, pools, short trainings, tables, custom searchers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from world import World, claims, quality, run_to_end, spec_of

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.planning import History, resolve
from archsearch.planning.evidence import pack, unpack
from archsearch.planning.history import proposals_of
from archsearch.searchers import Proposal, Result
from archsearch.spaces import space_of

SPACE = space_of(SpaceSpec(nas_bench201=NasBench201()))
PROFILE = {"name": "t4", "searchLatency": {"measuredTable": {"networks": 20}}}


def done(world: World) -> World:
    run_to_end(world)
    assert claims(world.plan())["Succeeded"] == ("True", "Completed")
    assert world.history is not None
    return world


def of(world: World, work: str) -> list:
    return sorted((t for t in world.trials.values() if t.spec.work == work), key=lambda trial: trial.spec.index)


@pytest.mark.parametrize(
    ("evaluation", "work", "metric"),
    [
        ({"zeroCost": {"architecturesPerTrial": 5}}, "Score", "zeroCost"),
        (
            {"tabular": {"volume": {"claimName": "t"}, "columns": [{"metric": "accuracy", "column": "a"}],
                         "architecturesPerTrial": 5}},
            "Lookup",
            "accuracy",
        ),
    ],
)  # fmt: skip
def test_a_trial_evaluates_a_batch_and_the_best_of_all_is_found(evaluation, work, metric):
    world = done(World(spec_of(evaluation=evaluation)))
    trials = of(world, work)
    assert [len(trial.spec.architectures) for trial in trials] == [5] * 6
    every = [values for trial in trials for values in trial.spec.architectures]
    assert len({json.dumps(values) for values in every}) == 30
    best = world.search.status.best
    assert best is not None
    ranked = sorted(every, key=quality, reverse=True)
    assert best.genotype in ranked[:2]  # topK of them are retrained, and the better one wins
    assert best.metrics[metric] == quality(best.genotype)


def test_a_result_beyond_a_limit_is_infeasible_by_itself_and_never_the_best():
    evaluation = {"zeroCost": {"architecturesPerTrial": 4}}
    limits = [{"metric": "parameters", "max": "100"}]
    world = World(spec_of(evaluation=evaluation, constraints=limits, budget={"maxTrials": 1}, retrain={"topK": 0}))
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    (name,) = world.running()
    results = [{"zeroCost": 9.0, "parameters": 101}, {"parameters": 500}, {}, {"zeroCost": 1.0, "parameters": 100}]
    world.finish(name, exit_code=0, termination=json.dumps({"version": 1, "results": results}))
    world.settle()
    assert world.history is not None
    (observed,) = world.history.observed
    assert [result.value for result in observed.results] == [None, None, None, 1.0]
    assert [result.excess for result in observed.results] == [(pytest.approx(0.01),), (4.0,), (None,), (0.0,)]
    assert [entry.metrics["zeroCost"] for entry in world.history.contenders] == [1.0]


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([{"zeroCost": 1.0}], "must have 4 results, one for each architecture, but got 1"),
        ([{"accuracy": 1.0}] * 4, "must have the objective zeroCost among its metrics, but got accuracy"),
        ([{"zeroCost": 1e300}] * 4, "metrics must be finite"),
    ],
)
def test_a_batch_that_does_not_fit_is_no_result(results, said):
    world = World(spec_of(evaluation={"zeroCost": {"architecturesPerTrial": 4}}))
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    name = world.running()[0]
    world.finish(name, exit_code=0, termination=json.dumps({"version": 1, "results": results}))
    world.settle()
    status = world.trials[name].status
    assert (status.state, status.reason) == ("Failed", "InvalidResult")
    assert said in status.message


def test_of_a_pool_the_chosen_one_is_the_result_and_the_others_are_not_proposed_again():
    evaluation = {"train": {"epochs": 3, "prefilter": {"score": "naswot", "keep": "0.25"}}}
    world = done(World(spec_of(evaluation=evaluation)))
    pools = [trial.spec.architectures for trial in of(world, "Train")]
    assert [len(pool) for pool in pools] == [4] * 6
    assert len({json.dumps(values) for pool in pools for values in pool}) == 24
    assert world.history is not None
    for item, pool in zip(sorted(world.history.observed, key=lambda item: item.index), pools, strict=True):
        assert [dict(r.architecture.values) for r in item.results] == [max(pool, key=quality)]


def test_a_trial_may_not_report_what_was_not_in_its_pool():
    evaluation = {"train": {"epochs": 3, "prefilter": {"keep": "0.5"}}}
    world = World(spec_of(evaluation=evaluation))
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    name = world.running()[0]
    pool = [SPACE.architecture(values) for values in world.trials[name].spec.architectures]
    other = next(a for a in map(SPACE.at, range(9)) if a not in pool)
    message = {"version": 1, "metrics": {"accuracy": 1.0}, "architecture": dict(other.values)}
    world.finish(name, exit_code=0, termination=json.dumps(message))
    world.settle()
    assert "must have the architecture that was asked for, but got another" in world.trials[name].status.message


def test_short_trainings_come_first_and_never_outrank_a_full_one():
    spec = spec_of(
        algorithm={"gaussianProcess": {"initial": 2}},
        evaluation={"train": {"epochs": 10, "fidelities": [1]}},
        budget={"maxTrials": 40, "parallelTrials": 2},
    )
    world = done(World(spec))
    trials = of(world, "Train")
    epochs = [trial.spec.epochs for trial in trials]
    assert epochs[0] == 1
    assert set(epochs) == {1, 10}
    seen: dict[str, int] = {}
    for trial in trials:
        key = json.dumps(trial.spec.architecture)
        assert seen.get(key, 0) < trial.spec.epochs
        assert trial.spec.epochs == 1 or seen[key] == 1
        seen[key] = trial.spec.epochs
    assert world.history is not None
    full = [trial for trial in trials if trial.spec.epochs == 10]
    assert world.history.contenders[0].trial in {trial.name for trial in full}
    assert {proposals_of(t.spec, world.search.spec, SPACE)[0].fidelity for t in trials} == {0.1, 1.0}


def test_a_latency_table_is_measured_before_the_first_trial_and_given_to_each():
    limits = [{"metric": "latencyMs", "profile": "t4", "max": "5"}]
    world = done(World(spec_of(profiles=[PROFILE], constraints=limits)))
    (table,) = of(world, "Table")
    assert table.spec.profile == "t4"
    assert world.created_jobs.index(table.name) < world.created_jobs.index(of(world, "Train")[0].name)
    assert {trial.spec.tables[0].uri for trial in of(world, "Train")} == {f"pvc://a/{table.name}"}
    assert not of(world, "Retrain")[0].spec.tables


def test_without_its_latency_table_a_search_ends_and_says_why():
    world = World(spec_of(profiles=[PROFILE]))
    for _ in range(3):
        world.settle()
        for name in world.running():
            good = world.trials[name].spec.work == "Preflight"
            world.finish(name, **({} if good else {"exit_code": 1, "log": "no such device"}))
    decided = world.settle()
    assert claims(decided)["Succeeded"] == ("False", "TableFailed")
    assert not of(world, "Train")


CUSTOM = {"custom": {"module": "mine.search:Greedy", "proposalsPerJob": 3}}


def test_a_custom_searcher_proposes_in_jobs_of_its_own_and_its_proposals_are_tried_in_order():
    world = done(World(spec_of(algorithm=CUSTOM)))
    asked = of(world, "Propose")
    assert [trial.spec.index for trial in asked] == [0, 1]
    numbers = [int(number) for trial in asked for number in trial.status.result.proposals]
    assert numbers == [0, 1, 2, 40, 41, 42]
    tried = [SPACE.rank(SPACE.architecture(trial.spec.architecture)) for trial in of(world, "Train")]
    assert tried == numbers


def test_a_custom_searcher_that_has_no_more_ends_the_search_stage():
    world = World(spec_of(algorithm=CUSTOM))
    for _ in range(40):
        if world.settle().status.completion_time:
            break
        name = world.running()[0]
        trial = world.trials[name]
        if trial.spec.work == "Propose" and trial.spec.index == 1:
            world.finish(name, exit_code=0, termination='{"version": 1, "proposals": []}')
        else:
            world.finish(name)
    assert claims(world.plan())["Succeeded"] == ("True", "Completed")
    assert len(of(world, "Train")) == 3
    assert world.search.status.trials.done == "3/6"


@pytest.mark.parametrize(
    ("proposals", "said"),
    [
        (["15625"], "proposals below 15625, the size of the space, but got 15625"),
        (["7", "7"], "must have new proposals, but got"),
        (["-1"], "proposals"),
    ],
)
def test_proposals_that_are_none_are_refused(proposals, said):
    world = World(spec_of(algorithm=CUSTOM))
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    (name,) = world.running()
    world.finish(name, exit_code=0, termination=json.dumps({"version": 1, "proposals": proposals}))
    world.settle()
    assert world.trials[name].status.state == "Failed"
    assert said in world.trials[name].status.message


def test_evidence_survives_its_packing_and_thousands_of_results_fit():
    world = done(World(spec_of(algorithm=CUSTOM)))
    assert world.history is not None
    found = unpack(pack(world.history, SPACE, 4), SPACE)
    assert found.index == 6
    assert len(found.results) == 4
    assert [r.value for r in found.results] == [r.value for o in world.history.observed[:4] for r in o.results]
    assert {p.architecture.id for p in found.pending} | {r.architecture.id for r in found.results} == set(
        found.proposed
    )
    rng = np.random.default_rng(0)
    large = History(world.search.spec)
    for _ in range(300):
        large.observed += world.history.observed[:6]
    large.proposed = [SPACE.at(int(at)) for at in rng.integers(0, SPACE.size(), 2000)]
    assert len(pack(large, SPACE, 1800)) <= 64 * 1024


def test_what_was_proposed_is_known_where_its_result_no_longer_fits():
    history = History(resolve(spec_of(algorithm=CUSTOM), "image"))
    rng = np.random.default_rng(0)
    ranks = rng.permutation(SPACE.size())[:8000]
    results = [
        Result(Proposal(SPACE.at(int(rank))), (float(rng.random()),), seconds=float(rng.random())) for rank in ranks
    ]
    history.observed = [SimpleNamespace(results=(result,)) for result in results]
    history.proposed = [result.architecture for result in results]
    text = pack(history, SPACE, len(results))
    assert len(text) <= 64 * 1024
    found = unpack(text, SPACE)
    assert 500 < len(found.results) < len(results)
    assert [r.value for r in found.results] == [r.value for r in results[-len(found.results) :]]
    assert set(found.proposed) == {result.architecture.id for result in results}
    assert found.index == len(results)


@pytest.mark.parametrize("text", ["", "####", "aGVsbG8=", "eJwDAAAAAAE="])
def test_evidence_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="evidence must be what the operator packed"):
        unpack(text, SPACE)
