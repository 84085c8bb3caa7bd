"""Restores trials whose record was lost, so that every index has one trial again. Nothing to do on a healthy disk."""

from __future__ import annotations

from collections import defaultdict

from archsearch.api.trial import SEARCH_KINDS, ArchitectureTrialSpec, Trial, WorkKind
from archsearch.api.work import Work
from archsearch.local.records import Records, Tell, read_document, renumbered, set_aside
from archsearch.planning import Ask, History, Search, trial_of
from archsearch.planning.history import proposals_of
from archsearch.planning.plan import supernet_trial
from archsearch.planning.propose import Replay, open_candidates
from archsearch.spaces import space_of


def repair(records: Records, search: Search, tell: Tell) -> None:
    """Close the gaps among the indices of each stage's trials, and among the sequence of the results.

    A lost trial is done again: from the document that its process was given, which is kept apart from its record;
    without that from a new proposal. Stages that only follow from others are repeated from the gap on.
    """
    by_kind: defaultdict[WorkKind, set[int]] = defaultdict(set)
    for trial in records.trials.values():
        by_kind[trial.spec.work].add(trial.spec.index)
    # A trial that has run and whose record is gone is lost too, if it was the last of its kind.
    for path in sorted((records.folder.root / "work").glob("*.json")):
        if path.stem not in records.trials and (spec := _given(records, search, path.stem)) is not None:
            by_kind[spec.work].add(spec.index)
    for trial in renumbered(records):
        records.write(trial)
    for work, indices in by_kind.items():
        for index in range(max(indices) + 1):
            name = search.trial_name(work, index)
            if name in records.trials:
                continue
            spec = _given(records, search, name) or _anew(records, search, work, index)
            if spec is None:
                _repeat(records, search, work, index, max(indices), tell)
                break
            records.write(Trial(name=name, spec=spec))
            tell(f"{name}: its record was lost, and it is done again")
    for trial in renumbered(records):
        records.write(trial)


def _given(records: Records, search: Search, name: str) -> ArchitectureTrialSpec | None:
    """What the trial's process was given."""
    try:
        spec = Work.model_validate(read_document(records.folder.work(name))).spec
        assert search.spec.space is not None  # noqa: S101 - the spec is resolved
        proposals_of(spec, search.spec, space_of(search.spec.space))
    except (OSError, ValueError):
        return None
    return spec if search.trial_name(spec.work, spec.index) == name else None


def _anew(records: Records, search: Search, work: WorkKind, index: int) -> ArchitectureTrialSpec | None:
    """The trial as it would be proposed now; None where it is not the searcher that says."""
    if work not in SEARCH_KINDS:
        return None
    assert search.spec.algorithm is not None  # noqa: S101 - the spec is resolved
    history = History(search.spec, records.finished())
    if work == "Supernet":
        return supernet_trial(search, search.spec.algorithm, index, history).spec
    others = [trial for trial in records.trials.values() if trial.spec.work == work]
    # It may know what the one before it knew: what this one knew is lost.
    known = max((trial.spec.observed for trial in others if trial.spec.index < index), default=0)
    replay = Replay(search.spec, history.untrained)
    replay.tell(history.observed)
    pending = open_candidates([trial.spec for trial in others if not trial.finished], search.spec)
    answers = replay.ask(pending, [Ask(index, min(known, replay.length))])
    return trial_of(*answers[0], search, history).spec if answers else None


def _repeat(records: Records, search: Search, work: WorkKind, first: int, last: int, tell: Tell) -> None:
    for index in range(first, last + 1):
        name = search.trial_name(work, index)
        if name in records.trials:
            del records.trials[name], records.attempts[name]
            set_aside(records.folder.trials / f"{name}.json", "a record before it was lost, and it is done again", tell)
