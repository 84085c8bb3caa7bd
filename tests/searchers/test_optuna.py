"""The adapter of Optuna's sampler: what it is told, and what happens without Optuna."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from objectives import CONDITIONAL, NB201, TINY, arbitrary, evidence, judged, price, search, smooth
from optuna.trial import TrialState

from archsearch.searchers import Proposal, Random, Result, TreeParzen

REPOSITORY = Path(__file__).parents[2]


def told(searcher: TreeParzen) -> list:
    """The complete trials of its study, after it was asked."""
    return searcher._study.get_trials(states=(TrialState.COMPLETE,))


def test_the_study_holds_the_results_with_the_places_of_the_options() -> None:
    searcher = TreeParzen(CONDITIONAL, 0, initial=0)
    one = CONDITIONAL.architecture({"depth": 1, "0": "c", "inputs": (0, 1), "inputs/1": "y"})
    other = CONDITIONAL.architecture({"depth": 2, "0": "a", "1": "b", "inputs": (0,)})
    results = [Result(Proposal(one), (0.25,), (-0.5, None)), Result(Proposal(other), None, (0.75,))]
    for _ in range(3):  # again and again: nothing is told twice
        searcher.ask(evidence([*results, Result(Proposal(CONDITIONAL.at(0)), None)]))
    first, second = told(searcher)
    assert first.params == {"depth": 0, "0": 2, "inputs": 2, "inputs/1": 1}
    assert (first.value, first.constraints) == (0.25, {"0": -0.5})
    assert second.params == {"depth": 1, "0": 0, "1": 1, "inputs": 0}
    assert second.constraints == {"0": 0.75}
    searcher.ask(evidence(results[1:]))  # another history
    assert [trial.params for trial in told(searcher)] == [second.params]


def test_an_objective_that_was_not_measured_is_not_told() -> None:
    searcher = TreeParzen(NB201, 0, initial=0, objectives=2)
    searcher.ask(evidence([Result(Proposal(NB201.at(1)), (1.0, -math.inf)), Result(Proposal(NB201.at(2)), (1.0, 3.0))]))
    assert [trial.values for trial in told(searcher)] == [[1.0, 3.0]]


def test_of_many_results_the_best_and_the_latest_are_known_whoever_is_asked() -> None:
    rng = np.random.default_rng(0)
    results = [judged(Proposal(NB201.at(int(at))), arbitrary) for at in rng.permutation(NB201.size())[:620]]
    results[3] = replace(results[3], scores=(5000.0,))
    results[4] = replace(results[4], scores=(9000.0,), excess=(0.5,))  # beyond a limit: not good
    again = TreeParzen(NB201, 0)
    for count in (398, 399, 400, 401, 599, 600, 620, 450):
        found = again.ask(evidence(results[:count]))
        assert found == TreeParzen(NB201, 0).ask(evidence(results[:count]))
        first = 400 if count >= 600 else 200 if count >= 400 else 0
        forgotten = sorted((result.value for result in results[:first] if result.value is not None), reverse=True)
        known = [*forgotten[:25], *(result.scores[0] for result in results[first:count] if result.scores)]
        assert [trial.value for trial in told(again)] == known


def test_it_finds_more_than_random_search_at_equal_cost() -> None:
    def best(searcher: TreeParzen | Random) -> float:
        return max(result.value or 0.0 for result in search(searcher, smooth, 60))

    gains = [best(TreeParzen(NB201, seed)) - best(Random(NB201, seed)) for seed in range(5)]
    print(f"{statistics.mean(gains):.2f} more")
    assert statistics.mean(gains) > 1


def test_two_objectives_are_both_looked_for() -> None:
    results = search(TreeParzen(NB201, 0, objectives=2), lambda one: (smooth(one), -smooth(one)), 40)
    values = [result.value for result in results[10:] if result.value is not None]
    assert max(values) - min(values) > 5


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"treeParzen needs Optuna, .* pip install 'archsearch\[optuna\]'"):
        TreeParzen(TINY, 0)


WITHOUT = """
import json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from objectives import NB201, price, search, smooth
from archsearch.searchers import TreeParzen
results = search(TreeParzen(NB201, 3, objectives=2), lambda one: (smooth(one), -price(one)), 40)
print(json.dumps([NB201.rank(result.architecture) for result in results]))
"""


def test_what_the_operators_image_leaves_out_is_not_missed() -> None:
    """The packages that its Dockerfile removes, read from there: asked and told without them it is the same."""
    removed = re.search(r"^ && rm -rf (.+) \\$", (REPOSITORY / "operator" / "Dockerfile").read_text(), re.MULTILINE)
    assert removed is not None
    left_out = [name for name in removed[1].split() if name.isidentifier() and name != "bin"]
    assert {"sqlalchemy", "alembic"} <= set(left_out)
    assert all(importlib.util.find_spec(name) for name in left_out), "they are here, so that leaving them out matters"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT, *left_out], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'trial_image'}:{Path(__file__).parent}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole = search(TreeParzen(NB201, 3, objectives=2), lambda one: (smooth(one), -price(one)), 40)
    assert json.loads(done.stdout) == [NB201.rank(result.architecture) for result in whole]
