"""A world without a cluster: trials and executions as data, to which plans are applied and events happen."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

from archsearch.api import ArchitectureSearchSpec
from archsearch.api.trial import Trial
from archsearch.planning import Execution, History, OpenTrial, Plan, Search, plan, reasons, resolve, trial_of
from archsearch.planning.model import STOPPING
from archsearch.planning.propose import Replay, open_candidates
from archsearch.spaces import space_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def spec_of(**changes: Any) -> ArchitectureSearchSpec:
    """A small random search with everything after it, changed at the top level."""
    document: dict[str, Any] = {
        "task": {"imageClassification": {"dataset": {"builtin": "digits"}}},
        "space": {"nasBench201": {}},
        "algorithm": {"random": {}},
        "evaluation": {"train": {"epochs": 3}},
        "budget": {"maxTrials": 6, "parallelTrials": 2},
        "retrain": {"topK": 2, "seeds": 2, "epochs": 4},
        "artifacts": {"claimName": "artifacts"},
    }
    if "differentiable" in changes.get("algorithm", {}):
        del document["evaluation"]
    return ArchitectureSearchSpec.model_validate(document | changes)


@dataclass
class World:
    """Everything outside the plan. step() plans and applies; finish() and others are what may happen in between."""

    spec: ArchitectureSearchSpec
    now: datetime = START
    trials: dict[str, Trial] = field(default_factory=dict)
    jobs: dict[str, Execution] = field(default_factory=dict)
    created_jobs: list[str] = field(default_factory=list)
    history: History | None = None
    replay: Replay | None = None
    search: Search = field(init=False)
    accelerators: float = 0.0
    used: float = 0.0

    def __post_init__(self) -> None:
        self.search = Search("ns", "s", "0123456789", 1, resolve(self.spec, "image"), defaults=reasons(self.spec))
        self.change(self.spec)

    def change(self, spec: ArchitectureSearchSpec) -> None:
        """The user edits the spec."""
        self.spec = spec
        before = self.search.status.reproducibility
        settled = before.settings_after_defaults if before else None
        self.search = replace(
            self.search,
            spec=resolve(spec, "image", settled),
            defaults=reasons(spec, settled),
            generation=self.search.generation + 1,
        )

    def forget(self) -> None:
        """The operator dies: what it had in memory is gone."""
        self.history = self.replay = None

    def plan(self) -> Plan:
        """What is to be done now."""
        if self.history is None:
            self.history = History(self.search.spec, [trial for trial in self.trials.values() if trial.finished])
        return plan(self.search, self.history, self.opened(), self.now)

    def opened(self) -> list[OpenTrial]:
        """The open trials as an operator sees them."""
        return [OpenTrial(trial, self._seen(trial)) for trial in self.trials.values() if not trial.finished]

    def _seen(self, trial: Trial) -> Execution | None:
        """The Job, with what its latest pod has used since that was written down: earlier ones cannot be seen."""
        execution, status = self.jobs.get(trial.name), trial.status
        if execution is None:
            return None
        start, end = execution.started_at or self.now, execution.ended_at or self.now
        if status.accelerator_seconds_until:
            start = max(start, datetime.fromisoformat(status.accelerator_seconds_until))
        used = status.accelerator_seconds + max(0.0, (end - start).total_seconds()) * self.accelerators
        return replace(execution, accelerators=self.accelerators, accelerator_seconds=used, until=self.now)

    def tick(self, seconds: int) -> None:
        """Time passes; what runs uses its accelerators."""
        self.now += timedelta(seconds=seconds)
        self.used += seconds * self.accelerators * len(self.running())

    def remove(self, name: str) -> None:
        """Somebody deletes the Job: its pod is seen to stop, and is gone."""
        self.jobs[name] = replace(self.jobs[name], phase="Pending", reason=STOPPING, ended_at=self.now)
        self.settle()
        del self.jobs[name]

    def evict(self, name: str, pod: str) -> None:
        """The pod is told to make room, and another takes its place."""
        self.jobs[name] = replace(self.jobs[name], reason="Terminating")
        self.settle()
        if name in self.jobs:
            self.jobs[name] = replace(self.jobs[name], reason="", pod=pod, started_at=self.now)

    def apply(self, decided: Plan, *, until: int = 10**9) -> bool:
        """Do what the plan says, at most `until` writes of it; returns whether all was done."""
        left = until
        for outcome in decided.outcomes:
            if (left := left - 1) < 0:
                return False
            assert self.history is not None
            trial = Trial(name=outcome.trial.name, spec=outcome.trial.spec, status=outcome.status)
            assert not self.trials[trial.name].finished, "a result is written once"
            self.trials[trial.name] = trial
            self.history.add(trial)
            self.jobs.pop(trial.name, None)
        wanted = list(decided.create)
        if decided.asks:
            assert self.history is not None
            wanted += [trial_of(ask, found, self.search, self.history) for ask, found in self._ask(decided)]
        for new in wanted:
            if (left := left - 1) < 0:
                return False
            assert new.name not in self.trials, f"{new.name} is created once"
            self.trials[new.name] = Trial(name=new.name, spec=new.spec)
        for change in decided.states:
            if (left := left - 1) < 0:
                return False
            self.trials[change.trial.name] = change.trial.model_copy(update={"status": change.status})
        for name in decided.stop:
            if (left := left - 1) < 0:
                return False
            self.jobs.pop(name, None)
        for trial in decided.start:
            if (left := left - 1) < 0:
                return False
            assert trial.name not in self.jobs
            assert len(self.jobs) < self.spec.budget.parallel_trials, "nothing is started beyond parallelTrials"
            self.jobs[trial.name] = Execution("Running", started_at=self.now, created_at=self.now)
            self.created_jobs.append(trial.name)
        self.search = replace(self.search, status=decided.status)
        return True

    def _ask(self, decided: Plan) -> list[Any]:
        assert self.history is not None
        if self.replay is None:
            self.replay = Replay(self.search.spec, self.history.untrained)
        self.replay.tell(self.history.observed[self.replay.length :])
        pending = open_candidates([t.spec for t in self.trials.values() if not t.finished], self.search.spec)
        answers = self.replay.ask(pending, decided.asks)
        if not answers and not pending:
            self.history.exhaust()
        return answers

    def settle(self) -> Plan:
        """Plan and apply until a plan has nothing to do."""
        for _ in range(50):
            decided = self.plan()
            self.apply(decided)
            if not (decided.outcomes or decided.create or decided.asks or decided.start or decided.stop):
                return decided
        raise AssertionError("the plan does not settle")

    def running(self) -> list[str]:
        """Names of the trials that run now."""
        return sorted(name for name, execution in self.jobs.items() if execution.phase == "Running")

    def finish(self, name: str, **changes: Any) -> None:
        """A trial's container ends: with a good result, or as `changes` of its Execution say."""
        self.tick(1)
        good = {"exit_code": 0, "termination": self.message(self.trials[name])}
        self.jobs[name] = replace(self.jobs[name], phase="Ended", ended_at=self.now, **(changes or good))

    def message(self, trial: Trial, **metrics: float) -> str:
        """A termination message that fits the trial; the accuracy follows from the architecture alone."""
        spec = trial.spec
        document: dict[str, Any] = {"version": 1, "metrics": {"accuracy": quality(spec.architecture or {}), **metrics}}
        if spec.work == "Supernet":
            document["architecture"] = dict(space_of(self.search.spec.space).at(spec.seed % 1000).values)
        elif spec.work == "Train":
            chosen = spec.architecture or max(spec.architectures, key=quality)
            document["architecture"] = chosen
            document["metrics"] = {"accuracy": quality(chosen), **metrics}
        elif spec.work == "Propose":
            space = space_of(self.search.spec.space)
            first = 40 * spec.index
            document = {"version": 1, "proposals": [str(first + at) for at in range(min(3, space.size() - first))]}
        elif spec.work in {"Score", "Lookup", "Evaluate"}:
            name = "zeroCost" if spec.work == "Score" else "accuracy"
            document = {"version": 1, "results": [{name: quality(values)} for values in spec.architectures]}
        elif spec.work == "Features":
            scores = self.search.spec.algorithm.gaussian_process.zero_cost.scores
            document = {
                "version": 1,
                "results": [dict.fromkeys(scores, quality(values)) for values in spec.architectures],
            }
        elif spec.work in {"Table", "SharedWeights"}:
            document["artifacts"] = [{"uri": f"pvc://a/{trial.name}", "sha256": "2" * 64, "format": "safetensors"}]
        elif spec.work == "Profile":
            latency = {"p50": 2.0, "p95": 3.0, "p99": 4.0}
            document["profile"] = {"profile": spec.profile, "device": "cpu", "runtime": "Torch", "batchSize": 1,
                                   "latencyMs": latency, "throughput": 9.0, "peakMemoryMiB": 1.0, "parameters": 1,
                                   "flops": 2}  # fmt: skip
        elif spec.work == "Retrain":
            document["metrics"]["testAccuracy"] = document["metrics"]["accuracy"] - 0.01
            document["artifacts"] = [{"uri": f"pvc://a/{trial.name}", "sha256": "0" * 64, "format": "safetensors"}]
        elif spec.work == "Export":
            document["artifacts"] = [{"uri": "pvc://a/m.onnx", "sha256": "1" * 64, "format": "onnx"}]
            document["metrics"]["exportDifference"] = 1e-6
        return json.dumps(document)


def quality(architecture: Any) -> float:
    """A number that every architecture has for itself, between 0 and 1."""
    return (crc32(json.dumps(architecture, sort_keys=True, default=list).encode()) % 10_000) / 10_000


def claims(decided: Plan) -> dict[str, tuple[str, str]]:
    """Status and reason of each condition."""
    return {item.type: (item.status, item.reason) for item in decided.status.conditions}


def run_to_end(world: World) -> None:
    """Let every trial end well until the search has ended."""
    for _ in range(200):
        decided = world.settle()
        if decided.status.completion_time:
            return
        world.finish(world.running()[0])
    raise AssertionError("the search does not end")
