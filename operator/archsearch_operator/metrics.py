"""The operator's own metrics: how the loop does, and what the searches have come to.

Series of searches are made anew at each scrape from the statuses that were published last, so that those of a deleted
search vanish with it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter as Count
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, get_args
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from archsearch.api.metrics import metric_key
from archsearch.api.search import ArchitectureSearchStatus, Stage
from archsearch_operator.kube import Conflict

RECONCILES: Final = "archsearch_reconcile_total"
RECONCILE_SECONDS: Final = "archsearch_reconcile_duration_seconds"
QUEUE_DEPTH: Final = "archsearch_workqueue_depth"
QUEUE_RETRIES: Final = "archsearch_workqueue_retries_total"
SEARCHES: Final = "archsearch_searches"
TRIALS: Final = "archsearch_trials"
BEST_OBJECTIVE: Final = "archsearch_search_best_objective"
GPU_HOURS: Final = "archsearch_gpu_hours"

RESULTS: Final = ("success", "conflict", "error")
NO_STAGE: Final = "None"
"""The stage of a search that has not entered one: it was refused, or is suspended from the start."""
STAGES: Final = (NO_STAGE, *get_args(Stage))
STATES: Final = ("Pending", "Queued", "Running", "Succeeded", "Failed", "Infeasible", "Stopped")

# A reconcile is a few requests to the API server; 30 s is the time-out of one.
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass
class Look:
    """One reconcile that is going on."""

    result: str = "error"

    def succeeded(self) -> None:
        """It reached its end."""
        self.result = "success"


class Metrics:
    """All metrics of one operator. registry: for tests; a registry of its own where it is left out."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._live = LiveSearches()
        self.registry.register(self._live)
        ProcessCollector(registry=self.registry)
        self._reconciles = Counter(
            RECONCILES.removesuffix("_total"),
            "Looks at a search, by how they ended.",
            ["result"],
            registry=self.registry,
        )
        for result in RESULTS:
            self._reconciles.labels(result)
        self._seconds = Histogram(
            RECONCILE_SECONDS, "Time that a look at a search takes.", buckets=_BUCKETS, registry=self.registry
        )
        self._depth = Gauge(QUEUE_DEPTH, "Searches that wait to be looked at.", registry=self.registry)
        self._retries = Counter(
            QUEUE_RETRIES.removesuffix("_total"), "Looks that failed and are made again.", registry=self.registry
        )

    def watch(self, queue: Sized) -> None:
        """Show the length of this queue as the depth of the work queue."""
        self._depth.set_function(lambda: len(queue))

    @contextmanager
    def reconciling(self) -> Iterator[Look]:
        """Count and time a reconcile. What raises, or does not say that it succeeded, has failed and is retried."""
        look = Look()
        began = time.perf_counter()
        try:
            yield look
        except Conflict:
            look.result = "conflict"
            raise
        except Exception:
            look.result = "error"
            raise
        except BaseException:
            # The operator is told to stop: neither a success nor a failure.
            look.result = ""
            raise
        finally:
            if look.result:
                self._reconciles.labels(look.result).inc()
                self._seconds.observe(time.perf_counter() - began)
                if look.result != "success":
                    self._retries.inc()

    def update(self, key: str, status: ArchitectureSearchStatus) -> None:
        """Show this status of the search `namespace/name`."""
        self._live.update(key, status)

    def forget(self, key: str) -> None:
        """The search is gone: show nothing of it."""
        self._live.forget(key)

    def serve(self, port: int, address: str = "0.0.0.0") -> Server:  # noqa: S104 - a pod is scraped from outside
        """Serve /metrics in a thread of its own; the caller stops it. OSError if the port is taken."""
        server, thread = start_http_server(port, address, registry=self.registry)
        return Server(server, thread)


@dataclass(frozen=True)
class Server:
    """A metrics server that runs."""

    http: WSGIServer
    thread: threading.Thread

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.http.server_port

    def stop(self) -> None:
        """Answer no more, and free the port."""
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


class LiveSearches(Collector):
    """The searches that exist, as series. Written by the event loop and read by the server's threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: dict[str, ArchitectureSearchStatus] = {}

    def update(self, key: str, status: ArchitectureSearchStatus) -> None:
        """Show this status of the search `namespace/name`."""
        with self._lock:
            self._statuses[key] = status

    def forget(self, key: str) -> None:
        """Show nothing of the search any more."""
        with self._lock:
            self._statuses.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """The series, for prometheus_client."""
        with self._lock:
            statuses = dict(self._statuses)
        stages = Count(status.stage or NO_STAGE for status in statuses.values())
        searches = GaugeMetricFamily(SEARCHES, "Searches that exist, by stage.", labels=["stage"])
        for stage in STAGES:
            searches.add_metric([stage], stages[stage])
        yield searches
        trials = GaugeMetricFamily(TRIALS, "Trials of the search stage of all searches, by state.", labels=["state"])
        for state in STATES:
            trials.add_metric([state], sum(getattr(status.trials, state.lower()) for status in statuses.values()))
        yield trials
        best = GaugeMetricFamily(
            BEST_OBJECTIVE,
            "Objective of the best architecture as its trial reported it, before any retraining.",
            labels=["namespace", "search", "metric"],
        )
        hours = GaugeMetricFamily(
            GPU_HOURS, "Accelerator hours that a search has used.", labels=["namespace", "search"]
        )
        for key, status in statuses.items():
            namespace, _, search = key.partition("/")
            for metric in _objectives(status):
                if status.best is not None and metric in status.best.metrics:
                    best.add_metric([namespace, search, metric], status.best.metrics[metric])
            hours.add_metric([namespace, search], status.usage.gpu_hours)
        yield best
        yield hours


def _objectives(status: ArchitectureSearchStatus) -> list[str]:
    """The objectives' keys among a trial's metrics. Not all metrics: a trial may report any number of them."""
    if status.reproducibility is None:
        return []
    objectives = status.reproducibility.settings_after_defaults.get("objectives") or ()
    return [metric_key(objective["metric"], objective.get("profile")) for objective in objectives]
