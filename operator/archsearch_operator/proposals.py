"""Runs searchers in other processes, so that a slow one never holds up the operator.

A process keeps the evidence of the searches it has seen, and is sent only what is new. It may die at any time: another
one is sent everything again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

from archsearch.planning.history import History, Observed
from archsearch.planning.model import Ask, Search
from archsearch.planning.propose import Candidate, Replay
from archsearch.searchers import Proposal

REMEMBERED = 200
"""Searches whose evidence a process keeps."""


@dataclass
class _Told:
    """How much of a search's history a process has."""

    length: int = 0


@dataclass
class Proposals:
    """Asks searchers. processes: how many run at once; a search is always asked in the same one."""

    processes: int = 2
    _pools: list[ProcessPoolExecutor] = field(default_factory=list)
    _told: dict[str, _Told] = field(default_factory=dict)

    async def ask(
        self, search: Search, history: History, pending: Sequence[Candidate], asks: Sequence[Ask]
    ) -> list[tuple[Ask, tuple[Proposal, ...]]]:
        """Proposals for each ask; fewer when the space has no more."""
        observed = history.observed
        slot = hash(search.uid) % self.processes
        told = self._told.setdefault(search.uid, _Told())
        for attempt in range(2):
            start = min(told.length, len(observed))
            settings = _settings(search, history) if start == 0 else {}
            request = (search.uid, settings, start, list(observed[start:]), list(pending), list(asks))
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._pool(slot), _answer, *request)
            except BrokenProcessPool:
                self._pools[slot] = self._new_pool()
                found = None
                if attempt:
                    raise
            if found is not None:
                told.length = len(observed)
                return found
            told.length = 0
        raise RuntimeError(f"the searcher of {search.namespace}/{search.name} did not take its whole history")

    def forget(self, uid: str) -> None:
        """The search is gone."""
        self._told.pop(uid, None)

    def close(self) -> None:
        """Stop the processes."""
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)
        self._pools.clear()

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        while len(self._pools) < self.processes:
            self._pools.append(self._new_pool())
        return self._pools[slot]

    def _new_pool(self) -> ProcessPoolExecutor:
        self._told.clear()
        # Not fork: the operator has threads and open connections.
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _settings(search: Search, history: History) -> dict[str, Any]:
    """What a searcher is made from."""
    return {"spec": search.spec.wire(), "untrained": history.untrained}


_replays: dict[str, Replay] = {}


def _answer(
    uid: str,
    settings: dict[str, Any],
    start: int,
    new: list[Observed],
    pending: list[Candidate],
    asks: list[Ask],
) -> list[tuple[Ask, tuple[Proposal, ...]]] | None:
    """Runs in the other process. None: it does not have the first `start` results."""
    replay = _replays.get(uid)
    if start == 0:
        from archsearch.api.search import ArchitectureSearchSpec

        replay = Replay(ArchitectureSearchSpec.model_validate(settings["spec"]), settings["untrained"])
        while len(_replays) >= REMEMBERED:
            _replays.pop(next(iter(_replays)))
        _replays[uid] = replay
    if replay is None or replay.length < start:
        return None
    replay.tell(new[replay.length - start :])
    return replay.ask(pending, asks)
