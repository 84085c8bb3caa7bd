"""Metrics are read from a real Prometheus server, and from the pods themselves, before and after the pod is gone."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import yaml

from archsearch_operator.prometheus import PrometheusSource
from archsearch_operator.readings import Reading, RunningPod, Unavailable, cross_check
from archsearch_operator.scrape import ScrapeSource

NAMESPACE = "team-a"
ADDON = Path(__file__).parents[2] / "cluster" / "addons" / "prometheus" / "prometheus.yaml"

# A trial's metrics server in a process of its own: each line on standard input sets one gauge.
TRIAL = """
import sys
from prometheus_client import CollectorRegistry, Gauge, start_http_server
registry = CollectorRegistry()
objective = Gauge("archsearch_trial_objective", "-", ["metric", "split"], registry=registry)
epoch = Gauge("archsearch_trial_epoch", "-", registry=registry)
start_http_server(int(sys.argv[2]), sys.argv[1], registry=registry)
print("ready", flush=True)
for line in sys.stdin:
    name, split, value = line.split()
    (epoch if name == "epoch" else objective.labels(name, split)).set(float(value))
    print("set", flush=True)
"""


@dataclass
class TrialProcess:
    """A pod that runs a trial, as far as metrics go."""

    name: str
    address: str
    port: int
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", TRIAL, self.address, str(self.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout.readline() == "ready\n"

    def set(self, name: str, value: float, split: str = "selection") -> None:
        self.process.stdin.write(f"{name} {split} {value!r}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "set\n"

    def end(self) -> datetime:
        self.process.kill()
        self.process.communicate()
        return datetime.now(UTC)

    @property
    def pod(self) -> RunningPod:
        return RunningPod(self.name, self.address, self.started)


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


@pytest.fixture
def trials() -> Iterator[list[TrialProcess]]:
    """Two pods on one port, as pods are: each has an address of its own."""
    port = free_port("0.0.0.0")
    running = [TrialProcess(f"search-ab12c-{index}", f"127.0.0.{index + 2}", port) for index in range(2)]
    yield running
    for trial in running:
        trial.end()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def prometheus_program() -> str:
    if found := shutil.which("prometheus"):
        return found
    from cluster.binaries import binary
    from cluster.errors import ClusterError

    try:
        return str(binary("prometheus"))
    except ClusterError as error:
        pytest.skip(f"no Prometheus server: {error}")


def configuration(trials: list[TrialProcess]) -> dict[str, object]:
    """Scrape these trials by the very rules with which the development cluster's server labels pods."""
    documents = yaml.safe_load_all(ADDON.read_text())
    data = next(item["data"] for item in documents if item and item["kind"] == "ConfigMap")
    (job,) = yaml.safe_load(data["prometheus.yml"])["scrape_configs"]
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {
                "job_name": "pods",
                "relabel_configs": job["relabel_configs"],
                "static_configs": [
                    {
                        "targets": [f"{trial.address}:{trial.port}"],
                        "labels": {
                            "__meta_kubernetes_namespace": NAMESPACE,
                            "__meta_kubernetes_pod_name": f"{trial.name}-xyz",
                            "__meta_kubernetes_pod_ip": trial.address,
                            "__meta_kubernetes_pod_annotation_prometheus_io_scrape": "true",
                            "__meta_kubernetes_pod_annotation_prometheus_io_port": str(trial.port),
                            "__meta_kubernetes_pod_label_archsearch_dev_search": "search",
                            "__meta_kubernetes_pod_label_archsearch_dev_trial": trial.name,
                        },
                    }
                    for trial in trials
                ],
            }
        ],
    }


@pytest.fixture
def server(trials: list[TrialProcess], tmp_path: Path) -> Iterator[str]:
    """A real Prometheus server that scrapes the trials once a second; its URL."""
    program = prometheus_program()
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration(trials)))
    url = f"http://127.0.0.1:{free_port()}"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address={url.removeprefix('http://')}",
            ],
            stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "2"},
        )  # fmt: skip
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=1):
                break
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


async def until_current(source, pods: list[RunningPod], metric: str, values: dict[str, float]) -> dict[str, Reading]:
    """Poll as the operator does until every pod shows its value."""
    async with asyncio.timeout(20):
        while True:
            readings = await source.current(NAMESPACE, pods, metric)
            if all(
                isinstance(reading := readings[name], Reading) and reading.values[metric] == value
                for name, value in values.items()
            ):
                return readings
            await asyncio.sleep(0.2)


async def test_the_final_value_is_read_from_the_server_after_the_pod_has_gone(server, trials, session):
    source = PrometheusSource(server, session)
    trial = trials[0]
    trial.set("accuracy", 0.5)
    trial.set("loss", 1.25)
    trial.set("accuracy", 0.99, split="training")
    await until_current(source, [trial.pod], "accuracy", {trial.name: 0.5})
    trial.set("accuracy", 0.9312345678901234)
    await until_current(source, [trial.pod], "accuracy", {trial.name: 0.9312345678901234})
    finished = trial.end()
    await asyncio.sleep(2.5)  # the series has gone stale

    reading = await source.final(NAMESPACE, trial.name, None, trial.started, finished)

    assert isinstance(reading, Reading), reading
    assert reading.values == {"accuracy": 0.9312345678901234, "loss": 1.25}
    assert 0 <= reading.age_seconds < 3
    assert "HTTP status 200" in reading.source
    agreed = cross_check(reading, {"accuracy": 0.9312345678901234, "loss": 1.25, "parameters": 1000})
    assert (agreed.available, agreed.reason) == (True, "Agrees")
    wrong = cross_check(reading, {"accuracy": 0.9412345678901234})
    assert (wrong.available, wrong.reason) == (False, "Disagrees")
    assert "0.9312345678901234" in wrong.message
    assert "0.9412345678901234" in wrong.message
    assert "last_over_time" in wrong.message


async def test_running_trials_are_read_with_their_curves_in_one_query(server, trials, session):
    source = PrometheusSource(server, session)
    for epoch in (1, 2):
        for index, trial in enumerate(trials):
            trial.set("epoch", epoch)
            trial.set("accuracy", epoch / 10 + index / 100)
        expected = {trial.name: epoch / 10 + index / 100 for index, trial in enumerate(trials)}
        await until_current(source, [trial.pod for trial in trials], "accuracy", expected)
        await asyncio.sleep(1.1)
    pods = [*(trial.pod for trial in trials), RunningPod("search-ab12c-7", None, trials[0].started)]

    readings = await source.current(NAMESPACE, pods, "accuracy")

    assert readings[trials[0].name].curve == ((1, 0.1), (2, 0.2))
    assert readings[trials[1].name].curve == ((1, 0.11), (2, 0.2 + 0.01))
    assert readings[trials[1].name].age_seconds < 2.5
    absent = readings["search-ab12c-7"]
    assert isinstance(absent, Unavailable)
    assert absent.reason == "NoSamples"
    assert "search-ab12c-7" in absent.message


async def test_a_trial_that_was_never_scraped_has_no_samples(server, session):
    finished = datetime.now(UTC)
    reading = await PrometheusSource(server, session).final(
        NAMESPACE, 'absent"} or vector(1) #\\', None, finished - timedelta(minutes=1), finished
    )
    assert isinstance(reading, Unavailable)
    assert reading.reason == "NoSamples"
    assert "HTTP status 200" in reading.message
    assert "70 s" in reading.message
    assert cross_check(reading, {"accuracy": 0.5}).reason == "NoSamples"


async def test_the_server_pays_no_attention_to_another_namespace(server, trials, session):
    source = PrometheusSource(server, session)
    trials[0].set("accuracy", 0.5)
    await until_current(source, [trials[0].pod], "accuracy", {trials[0].name: 0.5})
    other = await source.final("team-b", trials[0].name, None, trials[0].started, datetime.now(UTC))
    assert isinstance(other, Unavailable)


async def test_a_query_that_the_server_refuses_does_not_stop_the_others(server, session):
    source = PrometheusSource(server, session)
    now = datetime.now(UTC)
    year_one = datetime(1, 1, 1, tzinfo=UTC)  # a window longer than PromQL has words for
    refused = await source.final(NAMESPACE, "x", None, year_one, now)
    assert isinstance(refused, Unavailable)
    assert refused.reason == "QueryRefused"
    assert "HTTP status 400" in refused.message
    assert "duration out of range" in refused.message
    following = await source.final(NAMESPACE, "x", None, now, now)
    assert isinstance(following, Unavailable)
    assert following.reason == "NoSamples"


async def test_direct_scrape_remembers_the_last_value_until_it_is_asked_for(trials, session):
    source = ScrapeSource(session, port=trials[0].port)
    pods = [trial.pod for trial in trials]
    for epoch, value in ((1, 0.5), (2, 0.75)):
        for trial in trials:
            trial.set("epoch", epoch)
            trial.set("accuracy", value)
            trial.set("accuracy", 1.0, split="training")
        readings = await source.current(NAMESPACE, pods, "accuracy")
    assert readings[trials[1].name].curve == ((1, 0.5), (2, 0.75))
    finished = trials[0].end()

    gone = (await source.current(NAMESPACE, pods, "accuracy"))[trials[0].name]
    assert isinstance(gone, Unavailable)
    assert gone.reason == "ScrapeFailed"
    assert "last sample" in gone.message
    reading = await source.final(NAMESPACE, trials[0].name, trials[0].address, trials[0].started, finished)
    assert reading.values == {"accuracy": 0.75}
    assert reading.curve == ((1, 0.5), (2, 0.75))
    assert 0 <= reading.age_seconds < 5
    assert cross_check(reading, {"accuracy": 0.75}).available
    again = await source.final(NAMESPACE, trials[0].name, trials[0].address, trials[0].started, finished)
    assert again == reading, "whoever could not record it asks again"
    other = await source.final(NAMESPACE, trials[0].name, trials[0].address, finished + timedelta(seconds=1), finished)
    assert isinstance(other, Unavailable)
    assert other.reason == "NoSamples", "a pod that started later was never scraped"
