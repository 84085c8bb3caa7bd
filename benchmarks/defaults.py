"""Is the searcher that a spec gets by default better than random search at equal cost? On several search problems.

    python -m benchmarks.defaults --table cifar10.csv.gz [--seeds 20] [--cost 20] [--json]

Each problem is a spec that leaves the algorithm out: the rules of `planning/defaults.py` choose it, as they do in a
search. Trainings are looked up in the table (NAS-Bench-201, with the devices' latencies), a short one of 12 epochs at
0.06 of the cost of one of 200; random search, which is what the same spec is with `algorithm: {random: {}}`, spends the
same on full ones. Searchers are told validation accuracies. What counts is fully trained and keeps the limits: the test
accuracy of the one that is best by validation, in percent, or the hypervolume of the front of test accuracy above 80 %
and milliseconds below --slowest, as a share of all there is.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from archsearch.api import ArchitectureSearchSpec
from archsearch.planning import resolve
from archsearch.planning.objectives import excess, scores
from archsearch.searchers import Evidence, Proposal, Result, Searcher, searcher_of
from archsearch.searchers.pareto import hypervolume
from archsearch.spaces import space_of
from benchmarks import nasbench201

FULL, SHORT, LEAST = 200, 12, 80.0
PI: Final = {"metric": "latencyMs", "profile": "pi"}
PROFILES: Final = [{"name": "pi", "searchLatency": {"trial": {}}}]
PROBLEMS: Final[dict[str, dict[str, Any]]] = {
    "accuracy": {},
    "accuracy under a latency limit": {"profiles": PROFILES, "constraints": [PI | {"max": "20"}]},
    "accuracy under a limit on operations": {"constraints": [{"metric": "flops", "max": "60M"}]},
    "accuracy under a limit on parameters": {"constraints": [{"metric": "parameters", "max": "300k"}]},
    "front of accuracy and latency": {"profiles": PROFILES, "objectives": [{"metric": "accuracy"}, PI]},
}

Metrics = dict[str, float]


@dataclass(frozen=True)
class Row:
    """What the table has of one architecture: metrics by fidelity, and test accuracy in percent."""

    metrics: Mapping[float, Metrics]
    test: float


def read(file: Path) -> dict[str, Row]:
    """The rows by the id of the architecture. Raises OSError or ValueError where the table is not whole."""
    costs = {"parameters_million": "parameters", "flops_million": "flops", "latency_ms_raspi4": "latencyMs@pi"}
    accuracies = {epochs / FULL: f"validation_accuracy_{epochs}" for epochs in (SHORT, FULL)}
    test = f"test_accuracy_{FULL}"
    rows = {}
    numbers = nasbench201.read(file, space_of(spec_of({}).space), (*costs, *accuracies.values(), test))
    for key, row in numbers.items():
        cost = {name: row[column] * (1e6 if column.endswith("_million") else 1) for column, name in costs.items()}
        metrics = {share: cost | {"accuracy": row[column] / 100} for share, column in accuracies.items()}
        rows[key] = Row(metrics, row[test])
    return rows


def spec_of(problem: Mapping[str, Any], **changes: Any) -> Any:
    """The resolved spec of a problem."""
    spec = {
        "task": {"imageClassification": {"dataset": {"builtin": "digits"}}},  # is not looked at
        "space": {"nasBench201": {}},
        "evaluation": {"train": {"epochs": FULL, "fidelities": [SHORT]}},
        "budget": {"maxTrials": 1000},
        **problem,
        **changes,
    }
    return resolve(ArchitectureSearchSpec.model_validate(spec), "image")


def run(rows: Mapping[str, Row], spec: Any, budget: float) -> list[Result]:
    """The full trainings of one search that may cost so much."""
    searcher: Searcher = searcher_of(spec)
    results: list[Result] = []
    proposed: dict[str, float] = {}
    cost = 0.0
    while (proposal := searcher.ask(Evidence(len(results), results, [], proposed))) is not None:
        cost += proposal.fidelity
        if cost > budget + 1e-9:
            break
        proposed[proposal.architecture.id] = proposal.fidelity
        results.append(result_of(rows, spec, proposal))
        if results[-1].scores is None:
            cost -= proposal.fidelity  # what is known to be beyond a limit is not trained
    return [result for result in results if result.proposal.fidelity == 1 and result.feasible]


def result_of(rows: Mapping[str, Row], spec: Any, proposal: Proposal) -> Result:
    """What a trial would report."""
    metrics = rows[proposal.architecture.id].metrics[proposal.fidelity]
    beyond = excess(spec.constraints, metrics)
    kept = all(part is None or part <= 0 for part in beyond)
    return Result(proposal, scores(spec.objectives, metrics) if kept else None, beyond)


def worth(rows: Mapping[str, Row], spec: Any, trained: list[Result], slowest: float, ideal: float) -> float:
    """What the problem counts."""
    if len(spec.objectives) == 1:
        best = max(trained, key=lambda result: result.value or -math.inf, default=None)
        return rows[best.architecture.id].test if best else 0.0
    return front(rows, [result.architecture.id for result in trained], slowest) / ideal


def front(rows: Mapping[str, Row], keys: list[str], slowest: float) -> float:
    """The hypervolume of test accuracy and latency."""
    points = [(rows[key].test, -rows[key].metrics[1.0]["latencyMs@pi"]) for key in keys]
    return hypervolume(points, (LEAST, -slowest))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--cost", type=float, default=20.0, help="full trainings of each search")
    parser.add_argument("--slowest", type=float, default=60.0, help="milliseconds at which a front has no worth")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    rows = read(chosen.table)
    ideal = front(rows, list(rows), chosen.slowest)
    said: dict[str, Any] = {}
    for name, problem in PROBLEMS.items():
        searches = {"default": {}, "random": {"algorithm": {"random": {}}, "evaluation": {"train": {"epochs": FULL}}}}
        found = {}
        for label, changes in searches.items():
            specs = [spec_of(problem, seed=seed, **changes) for seed in range(chosen.seeds)]
            values = [worth(rows, spec, run(rows, spec, chosen.cost), chosen.slowest, ideal) for spec in specs]
            found[label] = {
                "algorithm": specs[0].algorithm.member[0],
                "mean": statistics.fmean(values),
                "deviation": statistics.stdev(values),
            }
        said[name] = found
        if not chosen.json:
            texts = [
                f"{label} ({f['algorithm']}) {f['mean']:.3f} +- {f['deviation']:.3f}" for label, f in found.items()
            ]
            print(f"{name}: {', '.join(texts)}", flush=True)
    if chosen.json:
        print(json.dumps({"cost": chosen.cost, "seeds": chosen.seeds, "problems": said}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
