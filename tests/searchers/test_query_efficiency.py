"""The benchmark of how many trainings a searcher needs: what it counts, what it reports, and tables that are wrong."""

from __future__ import annotations

import csv
import gzip
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from objectives import NB201, price, smooth

from archsearch.searchers import Evidence, Proposal, Untrained
from archsearch.spaces.nasbench201 import to_string
from benchmarks.nasbench201 import read_scores
from benchmarks.prefilter import reported
from benchmarks.query_efficiency import (
    LOW,
    SEARCHERS,
    Row,
    Run,
    Table,
    asynchronous,
    drawn,
    main,
    read,
    sequential,
    within_seconds,
)

COLUMNS = ["architecture", "validation_accuracy_12", "validation_accuracy_200", "test_accuracy_200",
           "train_seconds_200"]  # fmt: skip
KEYS = {"mean_units_to_best", "standard_error", "found_fraction", "test_accuracy_at"}


def write(file: Path, columns: Sequence[str], lines: Iterable[dict[str, Any]]) -> Path:
    with gzip.open(file, "wt", newline="") if file.suffix == ".gz" else file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    return file


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """All cells: what a full training reaches is smooth, a short one says nearly the same."""
    found = []
    for number in range(NB201.size()):
        one = NB201.at(number)
        full = 50 + 4 * smooth(one) + number / 1e6  # no two are equal
        found.append(dict(zip(COLUMNS, (to_string(one), full - 20 + number % 3, full, full + 1, 1000 + 10 * price(one)),
                              strict=True)))  # fmt: skip
    return found


@pytest.fixture(scope="module")
def file(lines: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("table") / "smooth.csv.gz", COLUMNS, lines)


def said(capsys: pytest.CaptureFixture[str], file: Path, *arguments: str) -> dict[str, Any]:
    assert main(["--table", str(file), "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@dataclass
class Listed:
    """Proposes what is on its list."""

    proposals: list[Proposal]

    def ask(self, evidence: Evidence) -> Proposal | None:
        return self.proposals[evidence.index] if evidence.index < len(self.proposals) else None


def small(seconds: Sequence[float]) -> Table:
    """Architecture n takes seconds[n], and is the better the larger n is."""
    return Table(NB201, {NB201.at(n).id: Row({LOW: 10.0 + n, 1.0: 80.0 + n}, 70.0 + n, taken)
                         for n, taken in enumerate(seconds)})  # fmt: skip


def listed(*steps: tuple[int, float]) -> Listed:
    return Listed([Proposal(NB201.at(number), fidelity) for number, fidelity in steps])


def test_the_table_is_what_the_file_says(file: Path) -> None:
    table = read(file, "validation_accuracy_200")
    assert len(table.rows) == NB201.size() == 15_625
    best = max(map(NB201.at, range(NB201.size())), key=lambda one: table.rows[one.id].validation[1.0])
    assert table.best == best.id
    assert smooth(best) == 11
    row = table.rows[NB201.at(4).id]
    assert row.validation == {0.06: pytest.approx(30 + 4 * smooth(NB201.at(4)) + 1, abs=1e-3),
                              1.0: pytest.approx(50 + 4 * smooth(NB201.at(4)), abs=1e-3)}  # fmt: skip
    assert row.test == pytest.approx(row.validation[1.0] + 1)
    assert table.mean_seconds == pytest.approx(1000 + 10 * statistics.fmean(map(price, map(NB201.at, range(15_625)))))


def test_short_trainings_cost_their_share_and_the_best_counts_once_it_is_trained_in_full() -> None:
    table = small([100.0, 100.0, 100.0])
    steps = listed((2, LOW), (0, 1.0), (1, LOW), (1, 1.0), (2, 1.0), (0, 1.0))
    run = sequential(table, table.best, steps, 200)
    assert run.found_at == pytest.approx(0.06 + 1 + 0.06 + 1 + 1)
    assert run.wall == pytest.approx(100 * 3.12)
    assert [result.scores for result in run.results] == [(12.0,), (80.0,), (11.0,), (81.0,), (82.0,)]


def test_a_run_ends_with_its_budget_and_reports_what_was_best_by_validation_at_each_cost() -> None:
    table = small([100.0] * 30)
    order = [0, 1, 2, 3, 4, 9, 5, 6, 7, 8, 20, 29]
    run = sequential(table, table.best, listed(*((number, 1.0) for number in order)), 11)
    assert (run.cost, run.found_at) == (11, None)
    assert [run.test_accuracy_at(cost) for cost in (5, 10, 20)] == [74, 79, 90]


def test_a_short_training_is_reported_only_where_no_longer_one_is() -> None:
    table = small([100.0] * 4)
    run = Run(table, table.best)
    searcher = listed((3, LOW), (0, 1.0), (2, LOW))
    for expected in (73, 70, 70):
        proposal = run.ask(searcher)
        assert proposal is not None
        run.finish(proposal, 0.0, timed=False)
        assert run.test_accuracy_at(5) == expected


def test_workers_run_side_by_side_and_whoever_is_free_goes_on_at_once() -> None:
    """By hand, two workers: 0 from 0 to 100; 1 from 0 to 30; 2 from 30 to 80; 3 from 80 to 160; 4, the target, from
    100 to 110, when 3 is still under way."""
    table = small([100.0, 30.0, 50.0, 80.0, 10.0])
    run = asynchronous(table, table.best, listed(*((number, 1.0) for number in range(5))), 200, workers=2)
    assert [NB201.rank(result.architecture) for result in run.results] == [1, 2, 0, 4]
    assert (run.found_at, run.found_wall) == (4, 110)
    assert [result.seconds for result in run.results] == [30, 50, 100, 10]
    assert [NB201.rank(proposal.architecture) for proposal in run.pending] == [3]
    alone = asynchronous(table, table.best, listed(*((number, 1.0) for number in range(5))), 200, workers=1)
    assert (alone.found_at, alone.found_wall) == (5, 270)
    many = asynchronous(table, table.best, listed(*((number, 1.0) for number in range(5))), 200, workers=9)
    assert (many.found_at, many.found_wall) == (1, 10)


def test_a_short_training_takes_its_share_of_the_time() -> None:
    table = small([100.0, 1000.0])
    run = asynchronous(table, table.best, listed((1, LOW), (0, 1.0), (1, 1.0)), 200, workers=2)
    assert (run.found_at, run.found_wall) == (pytest.approx(2.06), pytest.approx(60 + 1000))


def test_within_seconds_only_trainings_that_end_in_time_count() -> None:
    table = small([100.0, 100.0, 100.0, 100.0])
    steps = [(number, 1.0) for number in (1, 0, 3)]
    assert within_seconds(table, listed(*steps), 17.9) == 71
    assert within_seconds(table, listed(*steps), 18.1) == 73


def test_the_document_says_units_errors_shares_and_test_accuracies(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--searcher", "regularizedEvolution10", "--seeds", "4", "--budget", "150")
    found = said(capsys, file, *arguments)
    assert found.keys() >= KEYS
    table = read(file, "validation_accuracy_200")
    assert 0 < found["mean_units_to_best"] <= 150
    assert found["found_fraction"] in {0, 0.25, 0.5, 0.75, 1}
    assert list(found["test_accuracy_at"]) == ["5", "10", "20", "40", "100"]
    assert sorted(found["test_accuracy_at"].values()) == list(found["test_accuracy_at"].values())
    assert found["test_accuracy_at"]["100"] <= table.rows[table.best].test
    again = said(capsys, file, *arguments)
    assert {key: again[key] for key in KEYS} == {key: found[key] for key in KEYS}


def test_with_workers_the_document_says_the_wall_clock_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, eight = (said(capsys, file, "--searcher", "random", "--seeds", "3", "--budget", "40", *more)
                  for more in ((), ("--workers", "8")))  # fmt: skip
    assert one.keys() | {"workers", "mean_wall_units_to_best", "wall_standard_error"} == eight.keys()
    assert eight["found_fraction"] == 0, "40 of 15,625 do not have the best among them"
    assert (eight["mean_units_to_best"], eight["standard_error"]) == (40, 0)
    # 40 trainings by 8 workers: five rounds, in trainings that take from 1,000 to 1,540 seconds.
    assert 4.3 < eight["mean_wall_units_to_best"] < 6.5
    assert one["test_accuracy_at"]["40"] == pytest.approx(eight["test_accuracy_at"]["40"], abs=3)


def test_what_is_found_beyond_the_budget_is_not_found(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = read(file, "validation_accuracy_200").best
    best = next(one for one in map(NB201.at, range(NB201.size())) if one.id == target)
    steps = [Proposal(best, LOW), Proposal(NB201.at(0)), Proposal(best)]
    monkeypatch.setitem(SEARCHERS, "random", lambda space, seed: Listed(steps))
    late = said(capsys, file, "--searcher", "random", "--seeds", "2", "--budget", "2")
    assert (late["mean_units_to_best"], late["found_fraction"]) == (2, 0)
    in_time = said(capsys, file, "--searcher", "random", "--seeds", "2", "--budget", "2.06")
    assert (in_time["mean_units_to_best"], in_time["found_fraction"]) == (pytest.approx(2.06), 1)


def refused(capsys: pytest.CaptureFixture[str], file: Path) -> str:
    """The one line that is said of it."""
    assert main(["--table", str(file), "--searcher", "random", "--seeds", "1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"{file}: ")
    return line.removeprefix(f"{file}: ")


def test_a_table_that_lacks_an_architecture_names_it(
    lines: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = to_string(NB201.at(7_777))
    file = write(tmp_path / "short.csv", COLUMNS, [line for line in lines if line["architecture"] != lost])
    assert refused(capsys, file) == f"the table must have all 15625 architectures, but lacks {lost}"


@pytest.mark.parametrize("column", COLUMNS)
def test_a_table_without_a_column_names_it(
    column: str, lines: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "narrow.csv", [name for name in COLUMNS if name != column], lines[:3])
    assert refused(capsys, file).startswith(f"the table must have a column {column}, but has ")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"train_seconds_200": "fast"}, "train_seconds_200 of {} must be a number, but is 'fast'"),
        ({"validation_accuracy_12": ""}, "validation_accuracy_12 of {} must be a number, but is ''"),
        ({"test_accuracy_200": "nan"}, "test_accuracy_200 of {} must be a number, but is 'nan'"),
    ],
)
def test_a_number_that_is_none_is_named(
    changed: dict[str, str], reason: str, lines: list[dict[str, Any]], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = write(tmp_path / "wrong.csv", COLUMNS, [lines[0], lines[1] | changed])
    assert refused(capsys, file) == reason.format(lines[1]["architecture"])


def test_a_file_that_is_not_there_or_no_table_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, tmp_path / "nowhere.csv") == "No such file or directory"
    text = tmp_path / "text.csv.gz"
    text.write_text("architecture\n")
    assert "gzip" in refused(capsys, text)
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"architecture," * 500)[:-12])
    assert "end" in refused(capsys, cut)
    other = write(tmp_path / "other.csv", COLUMNS, [dict.fromkeys(COLUMNS, "1")])
    assert refused(capsys, other)


def test_a_count_below_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("--seeds", "--workers"):
        with pytest.raises(SystemExit):
            main(["--table", str(tmp_path / "any.csv"), name, "0"])
        assert f"{name} must be at least 1, but got 0" in capsys.readouterr().err


def scores(tmp_path: Path, name: str = "scores.csv.gz") -> Path:
    cells = [NB201.at(number) for number in range(0, 15_625, 26)]
    lines = [{"architecture": to_string(one), "good": smooth(one), "dear": price(one)} for one in cells]
    return write(tmp_path / name, ["architecture", "good", "dear"], lines)


def test_scores_are_told_of_a_pool_that_is_another_for_each_seed(tmp_path: Path) -> None:
    scored = read_scores(scores(tmp_path), NB201)
    assert len(scored) == 601
    assert all(one.scores == {"good": pytest.approx(smooth(one.architecture)), "dear": price(one.architecture)}
               for one in scored)  # fmt: skip
    assert read_scores(scores(tmp_path), NB201, ["dear"])[7].scores == {"dear": price(scored[7].architecture)}
    pools = [drawn(scored, 100, seed) for seed in (0, 0, 1)]
    assert [len({one.architecture.id for one in pool}) for pool in pools] == [100, 100, 100]
    assert pools[0] == pools[1] != pools[2]


def test_a_searcher_that_is_told_of_scores_begins_with_better_ones(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--searcher", "gaussianProcess", "--seeds", "20", "--budget", "10")
    plain = said(capsys, file, *arguments)
    told = said(capsys, file, *arguments, "--zero-cost", str(scores(tmp_path)), "--scores", "good", "--pool", "300")
    assert (told["pool"], told["scores"]) == (300, "good")
    for cost in ("5", "10"):
        assert told["test_accuracy_at"][cost] > plain["test_accuracy_at"][cost] + 1


@pytest.mark.parametrize(("column", "reason"), [("lucky", "the table must have a column lucky"), ("architecture", "")])
def test_a_table_of_scores_that_is_wrong_is_one_line(
    column: str, reason: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = scores(tmp_path)
    arguments = ["--table", str(file), "--seeds", "1", "--zero-cost", str(given), "--scores", column]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{given}: {reason}")


def test_a_prefilter_trains_the_best_of_each_few_and_none_twice() -> None:
    table = small([1.0] * 40)
    scored = [Untrained(NB201.at(number), {"good": float(number), "bad": float(-number)}) for number in range(40)]
    every = {seed: reported(table, scored, None, 1, [10], seed) for seed in range(5)}
    good = {seed: reported(table, scored, "good", 4, [10], seed) for seed in range(5)}
    assert set(good) == set(every)
    assert all(row == {10: 70.0 + 39} for row in good.values()), "the best of all is the best of its few"
    bad = {seed: reported(table, scored, "bad", 4, [5, 10], seed) for seed in range(5)}
    assert statistics.fmean(row[10] for row in bad.values()) < statistics.fmean(row[10] for row in every.values())
    with pytest.raises(ValueError, match="need 44 cells with scores, but there are 40"):
        reported(table, scored, "good", 4, [11], 0)
