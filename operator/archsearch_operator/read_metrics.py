"""Adds to what Kubernetes says of the trials what their metrics say. It never loses a result, and never waits long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archsearch.api.trial import MEASURING_KINDS, REPORTING_KINDS, CurvePoint, MetricsReading
from archsearch.api.work import EXIT_RESULT, OPERATOR_AGENT, InvalidMessage, decode
from archsearch.planning import OpenTrial, Search
from archsearch.searchers.goals import searched_objectives
from archsearch_operator.observe import running_pod
from archsearch_operator.readings import MetricsSource, Reading, RunningPod, cross_check

STOPPING_SECONDS = 10.0
"""How often curves are read where they can stop a trial."""

Observed = tuple[OpenTrial, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class MetricsReader:
    """Reads a source of metrics. poll_seconds: how often running trials must be read for their last value to be seen;
    0 where a server does that."""

    source: MetricsSource
    poll_seconds: float

    @property
    def scraper(self) -> str:
        """Whose scrape a trial waits for at its end: any server's, or the operator's own where it must see it."""
        return OPERATOR_AGENT if self.poll_seconds else ""

    async def read(self, search: Search, observed: Sequence[Observed]) -> list[OpenTrial]:
        """The open trials with the curves of the running ones and a verdict on the results of the ended ones."""
        curves = await self._curves(search, observed)
        return list(await asyncio.gather(*(self._enrich(search, item, pods, curves) for item, pods in observed)))

    def interval(self, search: Search) -> float:
        """Seconds after which running trials are to be read again; 0 for never."""
        if search.spec.early_stopping is None:
            return self.poll_seconds
        return min(self.poll_seconds or STOPPING_SECONDS, STOPPING_SECONDS)

    async def _enrich(
        self,
        search: Search,
        item: OpenTrial,
        pods: Sequence[Mapping[str, Any]],
        curves: Mapping[str, tuple[CurvePoint, ...]],
    ) -> OpenTrial:
        execution = item.execution
        if execution is None or item.trial.spec.work not in REPORTING_KINDS:
            return item
        if execution.phase == "Running":
            return replace(item, execution=replace(execution, curve=curves.get(item.trial.name, ())))
        if execution.phase != "Ended" or execution.exit_code != EXIT_RESULT:
            return item
        reading = await self._verdict(search, item, pods)
        return replace(item, execution=replace(execution, reading=reading))

    async def _verdict(
        self, search: Search, item: OpenTrial, pods: Sequence[Mapping[str, Any]]
    ) -> MetricsReading | None:
        execution = item.execution
        if execution is None or execution.ended_at is None:
            return None
        try:
            message = decode(execution.termination)
        except InvalidMessage:
            return None
        address = pods[-1].get("status", {}).get("podIP") if pods else None
        found = await self.source.final(
            search.namespace, item.trial.name, address, execution.started_at, execution.ended_at
        )
        return cross_check(found, message.metrics)

    async def _curves(self, search: Search, observed: Sequence[Observed]) -> dict[str, tuple[CurvePoint, ...]]:
        if not self.interval(search):
            return {}
        running = []
        for item, pods in observed:
            pod = running_pod(pods)
            if item.execution and pod is not None and item.trial.spec.work in MEASURING_KINDS:
                address = pod.get("status", {}).get("podIP")
                running.append(RunningPod(item.trial.name, address, item.execution.started_at))
        if not running:
            return {}
        metric = searched_objectives(search.spec)[0].metric
        readings = await self.source.current(search.namespace, running, metric)
        return {
            name: tuple(CurvePoint(epoch=epoch, value=value) for epoch, value in reading.curve)
            for name, reading in readings.items()
            if isinstance(reading, Reading)
        }
