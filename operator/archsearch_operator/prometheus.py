"""Reads the metrics of trials from a Prometheus server.

The server is asked and never trusted: whatever it answers, or does not answer, becomes a Reading or an Unavailable.
After a failure it is left alone for a while, so that a dead server does not slow the recording of results.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from archsearch_operator import promql
from archsearch_operator.promql import AnswerError, Series
from archsearch_operator.readings import Reading, RunningPod, Unavailable, curve_of, shortened
from archsearch_operator.transfer import TransferError, body_of

MAX_ANSWER: Final = 1024 * 1024
QUERY_TIMEOUT_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = 30.0
"""How long a server that failed is not asked again."""
REFUSED: Final = "QueryRefused"
"""The reason where the server works and does not take this one query: no ground to leave it alone."""

MARGIN_SECONDS: Final = 5
"""Around a run: times of pods are whole seconds, and clocks differ between nodes."""
UNKNOWN_RUN_SECONDS: Final = 3600
"""The window where it is not known when a pod started."""

MAX_TRIALS: Final = 200
"""Running trials in one query."""
MAX_POINTS: Final = 200
"""Points of a curve."""
MAX_SAMPLES: Final = 15_000
"""Samples of one answer: about half of MAX_ANSWER."""


class PrometheusSource:
    """A MetricsSource over the HTTP API of a Prometheus server, or of anything that speaks it.

    It finds a trial's series by the labels `namespace` and `trial`, which the scrape configuration takes from the pod.
    Raises ValueError if the URL is not an http or https address.
    """

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        *,
        timeout: float = QUERY_TIMEOUT_SECONDS,
        pause: float = PAUSE_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the Prometheus URL must be like http://prometheus:9090, but got {url!r}")
        self._url = url.rstrip("/")
        # For messages, which end up in a status that many can read.
        self._name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._pause = pause
        self._now = now
        self._clock = clock
        self._resume_at = 0.0
        self._last_failure: Unavailable | None = None

    async def final(
        self,
        namespace: str,
        trial: str,
        pod_ip: str | None,  # noqa: ARG002 - the server knows the trial by its name
        started: datetime | None,
        finished: datetime,
    ) -> Reading | Unavailable:
        """See MetricsSource. One query, at the moment when the pod ended."""
        run = UNKNOWN_RUN_SECONDS if started is None else max(0.0, (finished - started).total_seconds())
        window = math.ceil(run) + 2 * MARGIN_SECONDS
        at = finished.timestamp() + MARGIN_SECONDS
        query = promql.final_query(namespace, trial, window)
        series = await self._ask("query", query, {"time": f"{at:.3f}"}, "vector")
        if isinstance(series, Unavailable):
            return series
        newest = _newest(series)
        values = {item.label("metric"): item.samples[-1][1] for item in newest if not item.label(promql.MARK)}
        if not values:
            return self._unavailable("NoSamples", f"no sample of {trial} in the {window} s around its run", query, 200)
        if unfit := {name: value for name, value in values.items() if not math.isfinite(value)}:
            return self._unavailable("NotFinite", f"the last values are {unfit}", query, 200)
        times = [item.samples[-1][1] for item in newest if item.label(promql.MARK) == "time"]
        age = max(0.0, finished.timestamp() - max(times)) if times else None
        return Reading(values, (), age, self._asked(query, 200))

    async def current(
        self, namespace: str, trials: Sequence[RunningPod], metric: str
    ) -> Mapping[str, Reading | Unavailable]:
        """See MetricsSource. One query for up to 200 trials."""
        readings: dict[str, Reading | Unavailable] = {}
        for start in range(0, len(trials), MAX_TRIALS):
            readings |= await self._curves(namespace, trials[start : start + MAX_TRIALS], metric)
        return readings

    async def _curves(
        self, namespace: str, trials: Sequence[RunningPod], metric: str
    ) -> dict[str, Reading | Unavailable]:
        names = [pod.trial for pod in trials]
        query = promql.current_query(namespace, names, metric)
        end = self._now().timestamp()
        starts = [pod.started.timestamp() for pod in trials if pod.started is not None]
        run = max(1.0, end - min(starts)) if len(starts) == len(names) else UNKNOWN_RUN_SECONDS
        points = max(1, min(MAX_POINTS, MAX_SAMPLES // (3 * len(names))))
        step = max(1, math.ceil(run / points))
        # Counted back from the end, so that the last point is now.
        times = {"start": f"{end - step * math.floor(run / step):.3f}", "end": f"{end:.3f}", "step": str(step)}
        series = await self._ask("query_range", query, times, "matrix")
        if isinstance(series, Unavailable):
            return dict.fromkeys(names, series)
        return {name: self._curve(name, series, metric, end, query) for name in names}

    def _curve(
        self, trial: str, series: Sequence[Series], metric: str, end: float, query: str
    ) -> Reading | Unavailable:
        own = [item for item in series if item.label("trial") == trial]
        values, epochs, sampled = (_finite(own, mark) for mark in ("value", "epoch", "time"))
        if not values:
            reason = "NotFinite" if any(item.label(promql.MARK) == "value" for item in own) else "NoSamples"
            return self._unavailable(reason, f"no number for {metric} of {trial}", query, 200)
        curve = curve_of((epochs[at], value) for at, value in values.items() if at in epochs)
        last = max(values)
        age = max(0.0, end - sampled.get(last, last))
        return Reading({metric: values[last]}, curve, age, self._asked(query, 200))

    async def _ask(self, path: str, query: str, parameters: Mapping[str, str], kind: str) -> list[Series] | Unavailable:
        if self._last_failure is not None:
            wait = self._resume_at - self._clock()
            if wait > 0:
                message = f"not asked for another {wait:.0f} s after: {self._last_failure.message}"
                return Unavailable(self._last_failure.reason, message)
            # One question finds out whether it is back, while the others go on without.
            self._resume_at = self._clock() + self._timeout_seconds()
        answer = await self._answer(path, query, parameters, kind)
        if isinstance(answer, Unavailable) and answer.reason != REFUSED:
            self._last_failure, self._resume_at = answer, self._clock() + self._pause
        else:
            self._last_failure = None
        return answer

    def _timeout_seconds(self) -> float:
        return self._timeout.total or QUERY_TIMEOUT_SECONDS

    async def _answer(
        self, path: str, query: str, parameters: Mapping[str, str], kind: str
    ) -> list[Series] | Unavailable:
        status: int | None = None
        try:
            # POST, because a query over many trials is longer than a URL may be. No redirects: they could lead
            # anywhere in the operator's network.
            async with self._session.post(
                f"{self._url}/api/v1/{path}",
                data={"query": query, "timeout": f"{self._timeout_seconds():g}s", **parameters},
                headers={"Accept-Encoding": "identity"},
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                status = response.status
                body = await body_of(response, MAX_ANSWER)
            if status != 200 and not body.lstrip().startswith(b"{"):
                return self._unavailable("PrometheusError", f"{body[:120]!r}", query, status)
            series = promql.parse(body, kind)
            if status != 200:
                return self._unavailable("PrometheusError", "a result with this status", query, status)
            return series
        except TimeoutError:
            return self._unavailable(
                "PrometheusTimeout", f"no answer within {self._timeout_seconds():g} s", query, status
            )
        except TransferError as error:
            return self._unavailable("MalformedAnswer", str(error), query, status)
        except AnswerError as error:
            reason = REFUSED if status in (400, 422) and error.reason == "PrometheusError" else error.reason
            return self._unavailable(reason, str(error), query, status)
        # ValueError: a header or a chunk that the HTTP parser cannot take.
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return self._unavailable("PrometheusUnreachable", str(error) or type(error).__name__, query, status)

    def _unavailable(self, reason: str, message: str, query: str, status: int | None) -> Unavailable:
        return Unavailable(reason, shortened(f"{shortened(message, 400)}; {self._asked(query, status)}", 1000))

    def _asked(self, query: str, status: int | None) -> str:
        return f"{self._name} HTTP status {'none' if status is None else status}, query {shortened(query, 400)}"


def _finite(series: Sequence[Series], mark: str) -> dict[float, float]:
    """The finite samples of what a query marked so, in the order of time."""
    samples = (sample for item in series if item.label(promql.MARK) == mark for sample in item.samples)
    return dict(sorted((at, value) for at, value in samples if math.isfinite(value)))


def _newest(series: Sequence[Series]) -> list[Series]:
    """The series of the pod that was sampled last: a trial that was interrupted has had more than one pod."""
    times = {
        _target(item): item.samples[-1][1]
        for item in series
        if item.label(promql.MARK) == "time" and math.isfinite(item.samples[-1][1])
    }
    if not times:
        return [item for item in series if not item.label(promql.MARK)]
    latest = max(times, key=lambda target: times[target])
    return [item for item in series if _target(item) == latest]


def _target(series: Series) -> frozenset[tuple[str, str]]:
    own = {"__name__", "metric", "split", promql.MARK}
    return frozenset((name, value) for name, value in series.labels.items() if name not in own)
