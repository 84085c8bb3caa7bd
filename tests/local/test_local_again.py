"""A folder that is used again: by the same search, by a changed one, by two at once, and after damage."""

from __future__ import annotations

import json

import pytest
from local_runs import EVOLUTION, wait_for


@pytest.mark.parametrize("algorithm", [None, EVOLUTION], ids=["random", "evolution"])
def test_a_larger_budget_goes_on_where_the_search_ended(make_run, algorithm):
    run = make_run(**({"algorithm": algorithm} if algorithm else {}))
    run.finish()
    before = {d["metadata"]["name"]: d for d in run.documents("Train")}
    printed = run.finish("--set", "budget.maxTrials=16")
    assert "goes on" in printed
    run.check_records(16)
    after = {d["metadata"]["name"]: d for d in run.documents("Train")}
    assert all(after[name] == document for name, document in before.items())
    assert run.result().observed_generation == 2
    assert run.result().reproducibility.settings_after_defaults["budget"]["maxTrials"] == 16


def test_a_search_that_has_ended_is_only_told_of_again(make_run):
    run = make_run(budget={"maxTrials": 2})
    run.finish()
    before = (run.out / "result.json").read_bytes()
    assert "done: 2/2 trials" in run.finish()
    assert (run.out / "result.json").read_bytes() == before
    assert len(run.noted("started")) == len(run.documents())


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=8", "seed was 7 and is now 8"),
        ("evaluation.train.epochs=2", "evaluation.train.epochs was 1 and is now 2"),
        ("objectives=[{metric: loss}]", 'objectives.0.goal was "Maximize" and is now "Minimize"'),
        ("earlyStopping={medianStop: {}}", "earlyStopping was not set and is now"),
    ],
)
def test_another_spec_in_the_same_folder_is_refused(make_run, override, said):
    run = make_run(budget={"maxTrials": 1})
    run.finish()
    before = {path: path.read_bytes() for path in run.out.rglob("*.json")}
    printed = run.finish("--set", override, code=2)
    assert said in printed
    assert "use another --out" in printed
    assert {path: path.read_bytes() for path in run.out.rglob("*.json")} == before


def test_a_second_runner_is_refused(make_run):
    run = make_run(budget={"maxTrials": 1}, config={"endings": {"Train 0": "forever"}})
    process = run.start()
    wait_for(lambda: run.noted("Train 0 started"), "the trial")
    printed = run.finish(code=2)
    assert f"is in use by another archsearch run (process {process.pid})" in printed
    process.terminate()
    process.communicate(timeout=20)
    assert len(run.noted("Train 0 started")) == 1


def record(run, work, index):
    [name] = [d["metadata"]["name"] for d in run.documents(work) if d["spec"]["index"] == index]
    return run.out / "trials" / f"{name}.json"


@pytest.mark.parametrize("known", [True, False], ids=["its work is known", "nothing is known"])
def test_a_broken_record_is_set_aside_and_its_trial_done_again(make_run, known):
    run = make_run()
    run.finish()
    proposals, path = run.proposals(), record(run, "Train", 4)
    path.write_text('{"spec": {"work": "Tr')
    if not known:
        (run.out / "work" / path.name).unlink()
    printed = run.finish()
    assert f"{path} cannot be used and is kept as {path.name}.bad-1: it is not JSON" in printed
    assert (run.out / "trials" / f"{path.name}.bad-1").read_text() == '{"spec": {"work": "Tr'
    run.check_records(12)
    after = run.proposals()
    assert len({json.dumps(architecture, sort_keys=True) for architecture in after.values()}) == 12
    if known:
        assert after == proposals
    assert len(run.noted("started")) == len(run.documents()) + 1


def test_a_record_of_another_stage_is_done_again(make_run):
    run = make_run(budget={"maxTrials": 2})
    run.finish()
    path = record(run, "Retrain", 0)
    (run.out / "work" / path.name).unlink()
    path.write_text("[]")
    assert "Retrain 0 succeeded" in run.finish()
    run.check_records(2)
    assert run.result().best.retrained.seeds == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"spec": {"architecture": {"cell/1/0": "magic"}}}, "magic"),
        ({"status": {"sequence": None}}, "no sequence"),
        ({"status": {"state": "Perhaps"}}, "Perhaps"),
        ({"spec": {"index": 9}}, "its trial is called"),
        ({"attempts": {"count": "many"}}, "many"),
    ],
)
def test_a_record_that_says_what_cannot_be_is_not_believed(make_run, change, why):
    run = make_run(budget={"maxTrials": 3})
    run.finish()
    path = record(run, "Train", 1)
    document = json.loads(path.read_text())
    for part, values in change.items():
        document[part] |= values
    path.write_text(json.dumps(document))
    printed = run.finish()
    assert f"kept as {path.name}.bad-1" in printed
    assert why in printed
    run.check_records(3)


@pytest.mark.parametrize("name", ["search.json", "result.json"])
def test_other_broken_files_are_written_anew(make_run, name):
    run = make_run(budget={"maxTrials": 2})
    run.finish()
    best = run.result().best
    (run.out / name).write_bytes(b"\xff\x00")
    assert f"kept as {name}.bad-1" in run.finish()
    run.check_records(2)
    assert run.result().best == best
    assert len(run.noted("started")) == len(run.documents())
