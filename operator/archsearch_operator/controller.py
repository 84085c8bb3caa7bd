"""The loop: read what is, ask `plan()` what is missing, do it. It decides nothing itself.

The order of the writes is what makes it safe to die anywhere: a trial exists before its Job; a result is recorded
before the Job is removed; the search's status is written last. What was done before a crash is seen by the next look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

import archsearch
from archsearch.api.search import ArchitectureSearchSpec, ArchitectureSearchStatus
from archsearch.api.trial import Trial
from archsearch.api.work import explain
from archsearch.planning import OpenTrial, Outcome, Plan, Search, plan, reasons, resolve, trial_of
from archsearch.planning.conditions import Claim, conditions, with_claim
from archsearch.planning.model import NewTrial
from archsearch.planning.propose import open_candidates
from archsearch_operator import names
from archsearch_operator.events import announce
from archsearch_operator.jobs import job_document, trial_document
from archsearch_operator.kube import UNAVAILABLE, AlreadyExists, Conflict, Kube, NamespaceGoing, Refused
from archsearch_operator.ledger import Ledger, owner_uid, trial_from
from archsearch_operator.metrics import Metrics
from archsearch_operator.observe import observe
from archsearch_operator.proposals import Proposals
from archsearch_operator.read_metrics import MetricsReader, Observed
from archsearch_operator.workqueue import Key, WorkQueue

Document = dict[str, Any]
log = logging.getLogger("archsearch.operator")

RESYNC = 60.0
"""Seconds after which a search that is going on is looked at even if no event came."""
STEPS = 20
"""Plans made in one look before another search gets its turn."""


def hindered(
    status: ArchitectureSearchStatus, why: Exception, generation: int, now: datetime
) -> ArchitectureSearchStatus:
    """The status of a search that cannot go on before somebody does something about it."""
    reason = "ApiRefused" if isinstance(why, Refused) else "OperatorError"
    claim = Claim("False", reason, str(why) if isinstance(why, Refused) else f"{type(why).__name__}: {why}")
    return status.model_copy(
        update={"conditions": with_claim(status.conditions, "Progressing", claim, generation, now)}
    )  # fmt: skip


class Foreign(Exception):
    """An object of the name that is needed belongs to somebody else."""


@dataclass
class Controller:
    """Reconciles searches. One worker at a time has a search: the queue sees to that."""

    kube: Kube
    queue: WorkQueue
    reader: MetricsReader
    proposals: Proposals
    metrics: Metrics
    trial_image: str
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _ledgers: dict[Key, Ledger] = field(default_factory=dict)

    async def work(self) -> None:
        """Look at searches for ever."""
        while True:
            key = await self.queue.get()
            try:
                with self.metrics.reconciling() as look:
                    again = await self.reconcile(key)
                    look.succeeded()
            except Conflict:
                # Somebody wrote first. What is in memory may be older than what is stored.
                self._drop(key)
                self.queue.add_rate_limited(key)
            except UNAVAILABLE as error:
                # What is in memory stays: whatever was written all the same is seen by the next look, and reading
                # everything again is the last thing that a busy API server needs.
                delay = self.queue.add_rate_limited(key)
                log.warning("%s: %s; looking again in %.1f s", key, error, delay)
            except Exception as error:
                self._drop(key)
                delay = self.queue.add_rate_limited(key)
                log.exception("%s: looking again in %.1f s", key, delay)
                await self._confess(key, error)
            else:
                self.queue.forget(key)
                if again is not None:
                    self.queue.add_after(key, again)
            finally:
                self.queue.done(key)

    async def reconcile(self, key: Key) -> float | None:
        """Do what is missing for one search. Returns seconds until it is to be looked at again, or None."""
        document = await self.kube.get_search(key)
        if document is None or document["metadata"].get("deletionTimestamp"):
            # What it owns is removed by the garbage collector.
            self._forget(key)
            return None
        try:
            search = self._search(document)
        except ValidationError as error:
            await self._refuse(document, explain(error))
            return None
        try:
            return await self._pursue(key, document, search)
        except NamespaceGoing:
            # The search goes with it, and its deletion is the next event.
            return None

    async def _pursue(self, key: Key, document: Document, search: Search) -> float | None:
        ledger = await self._ledger(key, search)
        for _ in range(STEPS):
            opened = await self._observe(key, search, ledger)
            now = self.clock()
            decided = plan(search, ledger.history, opened, now)
            if decided.outcomes:
                await self._record(search, ledger, decided.outcomes)
                continue
            try:
                if await self._create(search, ledger, decided):
                    continue
                await self._run(search, ledger, decided)
            except Refused as refusal:
                await self._publish(document, search, hindered(decided.status, refusal, search.generation, now))
                raise
            await self._publish(document, search, decided.status)
            self.metrics.update(str(key), decided.status)
            return self._again(search, decided, opened)
        self.queue.add(key)
        return None

    def _search(self, document: Document) -> Search:
        metadata = document["metadata"]
        spec = ArchitectureSearchSpec.model_validate(document["spec"])
        status = _status(document)
        settled = status.reproducibility.settings_after_defaults if status.reproducibility else None
        return Search(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            spec=resolve(spec, self.trial_image, settled),
            status=status,
            defaults=reasons(spec, settled),
            operator_version=archsearch.__version__,
        )

    async def _ledger(self, key: Key, search: Search) -> Ledger:
        ledger = self._ledgers.get(key)
        if ledger is None or ledger.uid != search.uid:
            self._drop(key)
            ledger = await Ledger.read(self.kube, key, search.uid, search.spec)
            self._ledgers[key] = ledger
        else:
            await ledger.refresh(self.kube, key)
        for trial in ledger.half_closed():
            if trial.name not in ledger.history.names:
                # Recorded by another operator since the history was read.
                raise Conflict(trial.name)
            await self._close(search, ledger, trial.name)
        return ledger

    async def _observe(self, key: Key, search: Search, ledger: Ledger) -> list[OpenTrial]:
        """The open trials and what their Jobs are doing. Jobs of trials that are not open are removed."""
        # Pods last: a Job that is complete in an older list must find its pod in the newer one.
        by_trial = {job["metadata"]["name"]: job for job in await self.kube.jobs(key)}
        pods: dict[str, list[Document]] = {}
        for pod in await self.kube.pods(key):
            pods.setdefault(pod["metadata"]["labels"].get(names.TRIAL, ""), []).append(pod)
        unfinished = ledger.unfinished()
        wanted = {trial.name for _, trial in unfinished}
        uids = {item["metadata"]["uid"] for item in ledger.open.values()}
        for name, job in by_trial.items():
            known = owner_uid(job) in uids or name in ledger.history.names
            if name not in wanted and known and not job["metadata"].get("deletionTimestamp"):
                await self.kube.delete_job(search.namespace, name)
        now = self.clock()
        opened: list[Observed] = []
        for document, trial in unfinished:
            found, own = by_trial.get(trial.name), pods.get(trial.name, [])
            mine = found if found is not None and owner_uid(found) == document["metadata"]["uid"] else None
            if mine is not None:
                own = [pod for pod in own if owner_uid(pod) == mine["metadata"]["uid"]]
            # Pods whose Job is gone must be gone too before there is another.
            seen = observe(mine, own, trial.status, now) if mine is not None or own else None
            opened.append((OpenTrial(trial, seen), own))
        return await self.reader.read(search, opened)

    async def _record(self, search: Search, ledger: Ledger, outcomes: tuple[Outcome, ...]) -> None:
        """Write results, one after the other, so that their sequence has no gap; then let go of the Jobs."""
        for outcome in outcomes:
            await self._write_trial(ledger, outcome)
            ledger.history.add(Trial(name=outcome.trial.name, spec=outcome.trial.spec, status=outcome.status))
            log.info("%s/%s: %s %s", search.namespace, outcome.trial.name, outcome.status.state, outcome.status.reason)
            await self._close(search, ledger, outcome.trial.name)
            await self.kube.delete_job(search.namespace, outcome.trial.name)

    async def _close(self, search: Search, ledger: Ledger, name: str) -> None:
        await self.kube.close_trial(search.namespace, name)
        ledger.open.pop(name, None)

    async def _create(self, search: Search, ledger: Ledger, decided: Plan) -> bool:
        """Create the trials that are wanted. Returns whether there is anything new to plan with."""
        wanted = list(decided.create)
        if decided.asks:
            history = ledger.history
            candidates = open_candidates([trial.spec for _, trial in ledger.unfinished()], search.spec)
            answers = await self.proposals.ask(search, history, candidates, decided.asks)
            wanted += [trial_of(ask, proposals, search, history) for ask, proposals in answers]
            if not answers and not candidates and history.exhaust():
                return True
        for new in wanted:
            ledger.open[new.name] = await self._create_trial(search, new)
        return bool(wanted)

    async def _create_trial(self, search: Search, new: NewTrial) -> Document:
        try:
            return await self.kube.create_trial(trial_document(search, new))
        except AlreadyExists:
            document = await self.kube.get_trial(search.namespace, new.name)
            if document is None or owner_uid(document) != search.uid:
                raise Foreign(f"trial {new.name} belongs to another search") from None
            if trial_from(document).finished:
                # It ended, and was recorded, without this operator: its history is old.
                raise Conflict(new.name) from None
            return document

    async def _run(self, search: Search, ledger: Ledger, decided: Plan) -> None:
        # What a trial has used is written down before its Job goes.
        for change in decided.states:
            await self._write_trial(ledger, change)
        for name in decided.stop:
            await self.kube.delete_job(search.namespace, name)
        for trial in decided.start:
            uid = ledger.open[trial.name]["metadata"]["uid"]
            try:
                await self.kube.create_job(job_document(search, trial, uid, ledger.history, self.reader.scraper))
            except AlreadyExists:
                job = await self.kube.get_job(search.namespace, trial.name)
                if job is not None and owner_uid(job) != uid:
                    raise Foreign(f"Job {trial.name} belongs to another owner") from None

    async def _write_trial(self, ledger: Ledger, outcome: Outcome) -> None:
        name = outcome.trial.name
        ledger.open[name] = await self.kube.write_status(ledger.open[name], outcome.status.wire())

    async def _publish(self, document: Document, search: Search, status: ArchitectureSearchStatus) -> None:
        # Compared as they are written: what was read back has lists where the plan has tuples.
        if (written := status.wire()) == search.status.wire():
            return
        await self.kube.write_status(document, written)
        await announce(self.kube, document, search.status, status, self.clock())

    async def _confess(self, key: Key, error: Exception) -> None:
        """Tell the user of an error that is this operator's, or of an object that it cannot work with."""
        try:
            document = await self.kube.get_search(key)
            if document is not None:
                before, generation = _status(document), document["metadata"]["generation"]
                after = hindered(before, error, generation, self.clock())
                if after.wire() != before.wire():
                    await self.kube.write_status(document, after.wire())
        except (Conflict, *UNAVAILABLE) as other:
            log.warning("%s: the error could not be told in the status: %s", key, other)

    async def _refuse(self, document: Document, problem: str) -> None:
        """A stored spec that this operator does not understand: written by a newer CRD, or before a rule was added."""
        before = _status(document)
        generation = document["metadata"]["generation"]
        unknown = Claim("Unknown", "InvalidSpec")
        claims = {
            "Accepted": Claim("False", "InvalidSpec", problem),
            "Progressing": Claim("False", "InvalidSpec", problem),
            "MetricsAvailable": unknown,
            "Suspended": unknown,
            "Succeeded": Claim("False", "InvalidSpec", problem),
        }
        after = before.model_copy(
            update={
                "observed_generation": generation,
                "conditions": conditions(before.conditions, claims, generation, self.clock()),
            }
        )
        if after != before:
            await self.kube.write_status(document, after.wire())

    def _again(self, search: Search, decided: Plan, opened: list[OpenTrial]) -> float | None:
        waits = [] if decided.look_again is None else [decided.look_again]
        if decided.status.completion_time is None:
            waits.append(RESYNC)
        running = any(item.execution and item.execution.phase == "Running" for item in opened)
        if running and (interval := self.reader.interval(search)):
            waits.append(interval)
        return min(waits) if waits else None

    def _drop(self, key: Key) -> None:
        self._ledgers.pop(key, None)

    def _forget(self, key: Key) -> None:
        ledger = self._ledgers.pop(key, None)
        if ledger is not None:
            self.proposals.forget(ledger.uid)
        self.metrics.forget(str(key))


def _status(document: Document) -> ArchitectureSearchStatus:
    """The status as it is stored; a broken one is written anew."""
    try:
        return ArchitectureSearchStatus.model_validate(document.get("status") or {})
    except ValidationError:
        return ArchitectureSearchStatus()
