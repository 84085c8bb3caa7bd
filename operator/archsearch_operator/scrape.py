"""Reads the metrics of trials from their pods, where there is no Prometheus server.

What a running trial showed last is remembered until it is asked for at the trial's end: a trial waits for one scrape
before it exits, so polling `current` more often than that wait is long sees the final values.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from archsearch.api.work import METRIC_NAME, METRICS_PORT, OPERATOR_AGENT
from archsearch_operator.promql import AnswerError
from archsearch_operator.readings import (
    EPOCH_METRIC,
    MAX_CURVE,
    OBJECTIVE_METRIC,
    SELECTION,
    Reading,
    RunningPod,
    Unavailable,
    curve_of,
    shortened,
)
from archsearch_operator.transfer import TransferError, body_of

MAX_PAGE: Final = 1024 * 1024
MAX_LINES: Final = 256
MAX_LINE: Final = 1024
SCRAPE_TIMEOUT_SECONDS: Final = 2.0
ROUND_TIMEOUT_SECONDS: Final = 5.0
"""How long one call of `current` may take, whatever the number of pods."""
AT_ONCE: Final = 64
MAX_REMEMBERED: Final = 5_000
"""Trials whose last values are kept; beyond it the one that was scraped longest ago is forgotten."""


@dataclass
class _Memory:
    """What a trial showed so far."""

    at: datetime
    source: str
    values: dict[str, float] = field(default_factory=dict)
    points: dict[int, float] = field(default_factory=dict)


class ScrapeSource:
    """A MetricsSource that fetches `http://POD:9464/metrics` itself."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        port: int = METRICS_PORT,
        timeout: float = SCRAPE_TIMEOUT_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._session = session
        self._port = port
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._now = now
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._memory: OrderedDict[tuple[str, str], _Memory] = OrderedDict()

    async def final(
        self,
        namespace: str,
        trial: str,
        pod_ip: str | None,
        started: datetime | None,
        finished: datetime,
    ) -> Reading | Unavailable:
        """See MetricsSource. It may be asked again: recording the answer can fail."""
        memory = self._memory.get((namespace, trial))
        # What is older than the pod was shown by another one, perhaps of another trial of that name.
        if memory is None or (started is not None and memory.at < started):
            return Unavailable("NoSamples", f"{trial} was never scraped while it ran (pod address {pod_ip or 'none'})")
        age = max(0.0, (finished - memory.at).total_seconds())
        return Reading(memory.values, curve_of(memory.points.items()), age, memory.source)

    async def current(
        self, namespace: str, trials: Sequence[RunningPod], metric: str
    ) -> Mapping[str, Reading | Unavailable]:
        """See MetricsSource. Scrapes all pods at once, in at most 5 s."""
        if not trials:
            return {}
        tasks = {asyncio.create_task(self._scrape(namespace, pod, metric)): pod for pod in trials}
        try:
            await asyncio.wait(tasks, timeout=ROUND_TIMEOUT_SECONDS)
        finally:
            late = [task for task in tasks if task.cancel()]
            await asyncio.gather(*late, return_exceptions=True)
        return {
            pod.trial: self._missing(namespace, pod, "ScrapeTimeout", f"not reached in {ROUND_TIMEOUT_SECONDS:g} s")
            if task.cancelled()
            else task.result()
            for task, pod in tasks.items()
        }

    async def _scrape(self, namespace: str, pod: RunningPod, metric: str) -> Reading | Unavailable:
        try:
            address = ipaddress.ip_address(pod.pod_ip or "")
        except ValueError:
            return self._missing(namespace, pod, "NoAddress", f"the pod's address is {pod.pod_ip!r:.80}")
        host = f"[{address}]" if address.version == 6 else str(address)
        url = f"http://{host}:{self._port}/metrics"
        status: int | None = None
        try:
            async with (
                self._slots,
                self._session.get(
                    url,
                    timeout=self._timeout,
                    allow_redirects=False,
                    headers={"Accept-Encoding": "identity", "User-Agent": OPERATOR_AGENT},
                ) as response,
            ):
                status = response.status
                if status != 200:
                    return self._missing(namespace, pod, "ScrapeFailed", f"{url} HTTP status {status}")
                page = await body_of(response, MAX_PAGE)
            values, epoch = objectives_of(page)
        except TimeoutError:
            limit = f"no answer within {self._timeout.total:g} s"
            return self._missing(namespace, pod, "ScrapeTimeout", f"{url} HTTP status {status}: {limit}")
        except AnswerError as error:
            return self._missing(namespace, pod, error.reason, f"{url} HTTP status {status}: {error}")
        except TransferError as error:
            return self._missing(namespace, pod, "MalformedAnswer", f"{url} HTTP status {status}: {error}")
        # ValueError: a header or a chunk that the HTTP parser cannot take.
        except (aiohttp.ClientError, OSError, ValueError) as error:
            words = str(error) or type(error).__name__
            return self._missing(namespace, pod, "ScrapeFailed", f"{url} HTTP status {status}: {words:.400}")
        if not values:
            return self._missing(namespace, pod, "NoSamples", f"{url} shows no {OBJECTIVE_METRIC} yet")
        return self._remember(namespace, pod, f"{url} HTTP status 200", values, epoch, metric)

    def _remember(
        self,
        namespace: str,
        pod: RunningPod,
        source: str,
        values: dict[str, float],
        epoch: int | None,
        metric: str,
    ) -> Reading:
        key = (namespace, pod.trial)
        memory = self._memory.pop(key, None) or _Memory(self._now(), source)
        memory.at, memory.source, memory.values = self._now(), source, values
        if epoch is not None and metric in values:
            memory.points[epoch] = values[metric]
            if len(memory.points) > 2 * MAX_CURVE:
                memory.points = dict(curve_of(memory.points.items()))
        self._memory[key] = memory
        while len(self._memory) > MAX_REMEMBERED:
            self._memory.popitem(last=False)
        return Reading(values, curve_of(memory.points.items()), 0.0, source)

    def _missing(self, namespace: str, pod: RunningPod, reason: str, message: str) -> Unavailable:
        memory = self._memory.get((namespace, pod.trial))
        age = f"last sample {(self._now() - memory.at).total_seconds():.1f} s ago" if memory else "never scraped"
        return Unavailable(reason, shortened(f"{message}; {age}", 1000))


def objectives_of(page: bytes) -> tuple[dict[str, float], int | None]:
    """The selection objectives and the epoch on a trial's metrics page. Raises AnswerError."""
    try:
        text = page.decode()
    except UnicodeDecodeError:
        raise AnswerError("MalformedAnswer", f"the page is not UTF-8: {page[:80]!r}") from None
    # Only our own lines reach the parser, which is slow, and a page may hold a megabyte of others.
    lines = [line for line in text.split("\n") if line.startswith((OBJECTIVE_METRIC, EPOCH_METRIC))]
    if len(lines) > MAX_LINES or any(len(line) > MAX_LINE for line in lines):
        raise AnswerError(
            "MalformedAnswer", f"the page must have at most {MAX_LINES} lines of ours, each of at most {MAX_LINE}"
        )
    values: dict[str, float] = {}
    epochs: list[float] = []
    try:
        samples = [
            sample
            for family in text_string_to_metric_families("\n".join([*lines, ""]))
            for sample in family.samples
        ]  # fmt: skip
    # The parser raises whatever it trips over: ValueError, KeyError, IndexError and others.
    except Exception as error:
        raise AnswerError("MalformedAnswer", f"{type(error).__name__}: {error} in {lines[:2]}") from None
    for sample in samples:
        if sample.name == EPOCH_METRIC:
            epochs.append(sample.value)
        elif sample.name == OBJECTIVE_METRIC and sample.labels.get("split") == SELECTION:
            name = sample.labels.get("metric", "")
            if not re.fullmatch(METRIC_NAME, name):
                raise AnswerError("MalformedAnswer", f"metric must be like {METRIC_NAME}, but got {name[:80]!r}")
            if not math.isfinite(sample.value):
                raise AnswerError("NotFinite", f"{name} is {sample.value}")
            values[name] = sample.value
    epoch = int(epochs[-1]) if epochs and math.isfinite(epochs[-1]) else None
    return values, epoch
