"""The only module that knows kopf. An event says "look again" and nothing else, so none can be lost or come twice."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import kopf

from archsearch.api.base import GROUP, VERSION
from archsearch.api.search import PLURAL
from archsearch_operator import names
from archsearch_operator.controller import Controller
from archsearch_operator.kube import Kube
from archsearch_operator.metrics import Metrics
from archsearch_operator.prometheus import PrometheusSource
from archsearch_operator.proposals import Proposals
from archsearch_operator.read_metrics import MetricsReader
from archsearch_operator.scrape import ScrapeSource
from archsearch_operator.settings import Settings
from archsearch_operator.workqueue import Key, WorkQueue

log = logging.getLogger("archsearch.operator")

SCRAPE_SECONDS = 3.0
"""How often running trials are scraped where no server does it; they wait longer than that at their end."""


def register(settings: Settings, registry: kopf.OperatorRegistry) -> None:
    """Put the operator's handlers into a registry."""
    running = _Running(settings)
    kopf.on.startup(registry=registry)(running.start)
    kopf.on.cleanup(registry=registry)(running.stop)
    # errors=PERMANENT: a failing probe answers at once, where kopf would otherwise retry it after a minute.
    kopf.on.probe(id="workers", errors=kopf.ErrorsMode.PERMANENT, registry=registry)(running.probe)
    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(running.search_changed)  # type: ignore[arg-type]
    for group, version, plural in (("batch", "v1", "jobs"), ("", "v1", "pods")):
        watch = kopf.on.event(group, version, plural, labels={names.SEARCH: kopf.PRESENT}, registry=registry)
        watch(running.child_changed)  # type: ignore[arg-type]


class _Running:
    """What lives as long as the operator."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queue = WorkQueue()
        self._workers: list[asyncio.Task[None]] = []

    async def start(self, settings: kopf.OperatorSettings, **_: Any) -> None:
        """Connect, and set the workers to work."""
        configure(settings)
        self._kube = await Kube.connect()
        self._session = aiohttp.ClientSession()
        self._proposals = Proposals()
        self._metrics = Metrics()
        self._metrics.watch(self._queue)
        self._server = self._metrics.serve(self._settings.metrics_port)
        url = self._settings.prometheus_url
        reader = (
            MetricsReader(PrometheusSource(url, self._session), 0.0)
            if url
            else MetricsReader(ScrapeSource(self._session), SCRAPE_SECONDS)
        )
        controller = Controller(
            self._kube, self._queue, reader, self._proposals, self._metrics, self._settings.trial_image
        )
        self._workers = [asyncio.create_task(controller.work()) for _ in range(self._settings.workers)]
        log.info("watching %s", ", ".join(self._settings.namespaces) or "all namespaces")

    async def stop(self, **_: Any) -> None:
        """Stop the workers where they are: whatever they leave undone is seen at the next start."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._proposals.close()
        self._server.stop()
        await self._session.close()
        await self._kube.close()

    async def probe(self, **_: Any) -> int:
        """The number of workers; an error if one has ended."""
        if any(worker.done() for worker in self._workers):
            raise kopf.PermanentError("a worker has ended")
        return len(self._workers)

    async def search_changed(self, namespace: str, name: str, **_: Any) -> None:
        """A search was created, changed or deleted."""
        self._queue.add(Key(namespace, name))

    async def child_changed(self, namespace: str, labels: kopf.Labels, **_: Any) -> None:
        """A Job or a pod of a search changed."""
        self._queue.add(Key(namespace, labels[names.SEARCH]))


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf as an informer: no finalizer, no annotation, no event of its own, and only our Jobs and pods are watched."""
    settings.watching.label_selectors["batch", "v1", "jobs"] = names.SEARCH
    settings.watching.label_selectors["", "v1", "pods"] = names.SEARCH
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.peering.standalone = True
