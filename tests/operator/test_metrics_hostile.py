"""A metrics server or a pod that is down, slow or hostile gives a reason, never an exception and never a long wait."""

import asyncio
import gzip
import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.api.trial import CurvePoint
from archsearch_operator import promql
from archsearch_operator.prometheus import MAX_ANSWER, PrometheusSource
from archsearch_operator.promql import AnswerError
from archsearch_operator.readings import Reading, RunningPod, Unavailable, cross_check, curve_of
from archsearch_operator.scrape import ScrapeSource, objectives_of

FINISHED = datetime(2030, 1, 1, tzinfo=UTC)
STARTED = FINISHED - timedelta(minutes=1)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Peer:
    """A socket server that answers every request with the same bytes and counts the requests."""

    def __init__(self, answer: bytes | None, *, host: str = "127.0.0.1") -> None:
        self.answer = answer
        self.host = host
        self.requests: list[bytes] = []

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["Peer"]:
        server = await asyncio.start_server(self._serve, self.host, port)
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"http://{self.host}:{self.port}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if self.answer is None:
                await asyncio.sleep(3600)
            writer.write(self.answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def vector(*results: Any, **more: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": results}, **more}).encode()


def sample(value: Any, at: Any = 1.0, **labels: Any) -> dict[str, Any]:
    return {"metric": {"metric": "accuracy", **labels}, "value": [at, value]}


DEEP = b"[" * 100_000
NESTED = b'{"status":"success","data":' + b"[" * 900 + b"]" * 900 + b"}"
SURROGATE = b'{"status":"error","errorType":"bad\\ud800\\n\\u0000","error":"\\u202e"}'

HOSTILE = {
    "empty body": (http(b""), "MalformedAnswer"),
    "not JSON": (http(b"<html>login</html>"), "MalformedAnswer"),
    "not UTF-8": (http(b"\xff\xfe\x00"), "MalformedAnswer"),
    "cut off JSON": (http(vector(sample("0.5"))[:-4]), "MalformedAnswer"),
    "nested too deep to parse": (http(DEEP), "MalformedAnswer"),
    "nested too deep to print": (http(NESTED), "MalformedAnswer"),
    "a huge integer": (http(b'{"status":' + b"9" * 50_000 + b"}"), "MalformedAnswer"),
    "a list": (http(b"[]"), "MalformedAnswer"),
    "null": (http(b"null"), "MalformedAnswer"),
    "no status": (http(b"{}"), "MalformedAnswer"),
    "no data": (http(b'{"status":"success"}'), "MalformedAnswer"),
    "data of the wrong type": (http(b'{"status":"success","data":[1]}'), "MalformedAnswer"),
    "a scalar": (http(b'{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}'), "MalformedAnswer"),
    "a matrix": (http(b'{"status":"success","data":{"resultType":"matrix","result":[]}}'), "MalformedAnswer"),
    "result of the wrong type": (
        http(b'{"status":"success","data":{"resultType":"vector","result":{"a":1}}}'), "MalformedAnswer"),
    "too many series": (http(vector(*[{}] * 6_000)), "MalformedAnswer"),
    "series of the wrong type": (http(vector("x")), "MalformedAnswer"),
    "labels of the wrong type": (http(vector({"metric": [], "value": [1, "1"]})), "MalformedAnswer"),
    "a label that is a number": (http(vector(sample("0.5", trial=7))), "MalformedAnswer"),
    "too many labels": (http(vector(sample("0.5", **{f"l{i}": "" for i in range(99)}))), "MalformedAnswer"),
    "no value": (http(vector({"metric": {}})), "MalformedAnswer"),
    "value is a number": (http(vector(sample(0.5))), "MalformedAnswer"),
    "value is null": (http(vector(sample(None))), "MalformedAnswer"),
    "value is a word": (http(vector(sample("high"))), "MalformedAnswer"),
    "value as Python writes it": (http(vector(sample("1_0"))), "MalformedAnswer"),
    "value in other digits": (http(vector(sample("\u0661"))), "MalformedAnswer"),
    "value of a thousand digits": (http(vector(sample("1" * 1000))), "MalformedAnswer"),
    "a sample of three": (http(vector({"metric": {}, "value": [1, "1", "1"]})), "MalformedAnswer"),
    "time is a string": (http(vector(sample("0.5", "now"))), "MalformedAnswer"),
    "time is true": (http(vector(sample("0.5", True))), "MalformedAnswer"),
    "time is negative": (http(vector(sample("0.5", -1))), "MalformedAnswer"),
    "time is not a number": (http(vector(sample("0.5", float("nan")))), "MalformedAnswer"),
    "NaN": (http(vector(sample("NaN"))), "NotFinite"),
    "+Inf": (http(vector(sample("+Inf"))), "NotFinite"),
    "overflow": (http(vector(sample("1e999"))), "NotFinite"),
    "empty vector": (http(vector()), "NoSamples"),
    "only times": (http(vector(sample("5", archsearch_query="time"))), "NoSamples"),
    "warnings": (http(vector(sample("0.5"), warnings=["a store did not answer"])), "PrometheusWarning"),
    "warnings of the wrong type": (http(vector(sample("0.5"), warnings={"a": 1})), "PrometheusWarning"),
    "an error": (http(b'{"status":"error","errorType":"timeout","error":"slow"}', "503 Busy"), "PrometheusError"),
    "an error with nothing said": (http(b'{"status":"error"}', "500 Oh"), "PrometheusError"),
    "an error of letters that nobody may print": (http(SURROGATE, "500 Oh"), "PrometheusError"),
    "a refused query": (http(b'{"status":"error","errorType":"bad_data","error":"?"}', "400 Bad"), "QueryRefused"),
    "a result with an error's status": (http(vector(sample("0.5")), "502 Bad"), "PrometheusError"),
    "not found": (http(b"404 page not found", "404 Not Found"), "PrometheusError"),
    "forbidden": (http(b"", "403 Forbidden"), "PrometheusError"),
    "a redirect": (http(b"", "302 Found", "Location: http://169.254.169.254/"), "PrometheusError"),
    "larger than allowed": (http(b" " * (MAX_ANSWER + 1)), "MalformedAnswer"),
    "compressed": (http(gzip.compress(vector()), "200 OK", "Content-Encoding: gzip"), "MalformedAnswer"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "PrometheusUnreachable"),
    "closed at once": (b"", "PrometheusUnreachable"),
    "closed in the middle": (http(vector(sample("0.5")))[:-9], "PrometheusUnreachable"),
    "a bad chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "PrometheusUnreachable"),
    "a header without end": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "PrometheusUnreachable"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_is_a_reason(name, session):
    answer, reason = HOSTILE[name]
    async with Peer(answer).running() as peer:
        reading = await PrometheusSource(peer.url, session).final("ns", "trial-1", None, STARTED, FINISHED)
    assert isinstance(reading, Unavailable)
    assert reading.reason == reason
    assert "last_over_time" in reading.message
    assert "HTTP status" in reading.message
    assert reading.message.isprintable()
    verdict = cross_check(reading, {"accuracy": 0.5})
    assert (verdict.available, verdict.reason) == (False, reason)
    assert len(peer.requests) == 1


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_about_running_trials_is_a_reason(name, session):
    answer, _ = HOSTILE[name]
    async with Peer(answer.replace(b'"vector"', b'"matrix"').replace(b'"value":', b'"values":')).running() as peer:
        source = PrometheusSource(peer.url, session)
        readings = await source.current("ns", [RunningPod("trial-1"), RunningPod("trial-2")], "accuracy")
    assert set(readings) == {"trial-1", "trial-2"}
    assert all(isinstance(reading, Unavailable) for reading in readings.values())


async def test_a_server_that_is_down_is_named(session, unused_port):
    url = f"http://user:secret@127.0.0.1:{unused_port}"
    reading = await PrometheusSource(url, session).final("ns", "trial-1", None, STARTED, FINISHED)
    assert isinstance(reading, Unavailable)
    assert reading.reason == "PrometheusUnreachable"
    assert f"http://127.0.0.1:{unused_port} HTTP status none" in reading.message
    assert "secret" not in reading.message


async def test_a_server_whose_name_does_not_resolve_is_named(session):
    source = PrometheusSource("http://prometheus.invalid:9090", session)
    reading = await source.final("ns", "trial-1", None, STARTED, FINISHED)
    assert isinstance(reading, Unavailable)
    assert reading.reason in ("PrometheusUnreachable", "PrometheusTimeout")


async def test_a_server_that_does_not_answer_costs_one_time_out_and_then_nothing(session):
    clock = [1000.0]
    async with Peer(None).running() as peer:
        source = PrometheusSource(peer.url, session, timeout=0.3, pause=30, clock=lambda: clock[0])

        async def final() -> Unavailable:
            reading = await source.final("ns", "trial-1", None, STARTED, FINISHED)
            assert isinstance(reading, Unavailable)
            return reading

        began = time.monotonic()
        assert (await final()).reason == "PrometheusTimeout"
        assert 0.25 < time.monotonic() - began < 2

        clock[0] += 29
        began = time.monotonic()
        skipped = [await final() for _ in range(50)]
        assert time.monotonic() - began < 0.2
        assert len(peer.requests) == 1
        assert {reading.reason for reading in skipped} == {"PrometheusTimeout"}
        assert "not asked for another 1 s" in skipped[0].message

        # When the pause is over, one question goes out and the others do not wait for it.
        clock[0] += 2
        await asyncio.gather(*(final() for _ in range(50)))
        assert len(peer.requests) == 2


async def test_a_server_that_comes_back_is_asked_again(session):
    clock = [1000.0]
    async with Peer(http(b"", "500 Oh")).running() as peer:
        source = PrometheusSource(peer.url, session, clock=lambda: clock[0])
        assert isinstance(await source.final("ns", "t", None, STARTED, FINISHED), Unavailable)
        times = sample(str(FINISHED.timestamp() - 2), archsearch_query="time")
        peer.answer = http(vector(sample("0.5"), times))
        clock[0] += 31
        for _ in range(2):
            reading = await source.final("ns", "t", None, STARTED, FINISHED)
            assert isinstance(reading, Reading)
            assert reading.values == {"accuracy": 0.5}
            assert reading.age_seconds == 2
        assert len(peer.requests) == 3


async def test_the_pod_that_was_sampled_last_counts(session):
    """A trial that was evicted has had two pods."""
    answer = vector(
        sample("0.9", pod="old"), sample("10", pod="old", archsearch_query="time"),
        sample("0.4", pod="new"), sample("20", pod="new", archsearch_query="time"),
    )  # fmt: skip
    async with Peer(http(answer)).running() as peer:
        reading = await PrometheusSource(peer.url, session).final("ns", "t", None, STARTED, FINISHED)
    assert isinstance(reading, Reading)
    assert reading.values == {"accuracy": 0.4}


@pytest.mark.parametrize("url", ["", "prometheus:9090", "ftp://prometheus", "http://", "file:///etc/passwd"])
async def test_a_url_that_is_none_is_refused_at_once(url, session):
    with pytest.raises(ValueError, match="must be like http://prometheus:9090"):
        PrometheusSource(url, session)


@given(st.text(max_size=40))
def test_any_label_value_stays_inside_its_quotes(text):
    quoted = promql.quoted(text)
    inner, end = quoted[1:-1], False
    for letter in inner:
        assert end or letter != '"'
        end = not end and letter == "\\"
    assert not end
    assert "\n" not in quoted


@settings(max_examples=300, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["success", "vector", "matrix", "NaN", "0.5"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["status", "data", "resultType", "result", "metric", "value", "values", "warnings"]), inner
    ),
    max_leaves=20,
))  # fmt: skip
def test_any_json_is_series_or_a_reason(document):
    for kind in ("vector", "matrix"):
        try:
            promql.parse(json.dumps(document).encode(), kind)
        except AnswerError:
            continue


PAGES = {
    "not UTF-8": (b"\xff", "MalformedAnswer"),
    "no value": (b"archsearch_trial_objective\n", "MalformedAnswer"),
    "a word": (b'archsearch_trial_objective{metric="accuracy",split="selection"} high\n', "MalformedAnswer"),
    "open labels": (b'archsearch_trial_objective{metric="accuracy 0.5\n', "MalformedAnswer"),
    "a bad name": (b'archsearch_trial_objective{metric="a b",split="selection"} 1\n', "MalformedAnswer"),
    "no name": (b'archsearch_trial_objective{split="selection"} 1\n', "MalformedAnswer"),
    "too many lines": (b'archsearch_trial_objective{metric="a",split="x"} 1\n' * 300, "MalformedAnswer"),
    "a long line": (b"archsearch_trial_objective{" + b"a" * 2000 + b"} 1\n", "MalformedAnswer"),
    "NaN": (b'archsearch_trial_objective{metric="accuracy",split="selection"} NaN\n', "NotFinite"),
    "infinity": (b'archsearch_trial_objective{metric="accuracy",split="selection"} +Inf\n', "NotFinite"),
    "nothing of ours": (b"python_info 1\n", "NoSamples"),
    "only training": (b'archsearch_trial_objective{metric="accuracy",split="training"} 1\n', "NoSamples"),
    "too large": (b"# x\n" * 300_000, "MalformedAnswer"),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
async def test_a_hostile_page_of_a_pod_is_a_reason(name, session):
    page, reason = PAGES[name]
    async with Peer(http(page)).running() as peer:
        source = ScrapeSource(session, port=peer.port)
        readings = await source.current("ns", [RunningPod("trial-1", "127.0.0.1")], "accuracy")
        final = await source.final("ns", "trial-1", "127.0.0.1", STARTED, FINISHED)
    reading = readings["trial-1"]
    assert isinstance(reading, Unavailable)
    assert reading.reason == reason
    assert reading.message.isprintable()
    assert isinstance(final, Unavailable)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(b"", "302 Found", "Location: http://169.254.169.254/"), "ScrapeFailed"),
        (http(b"", "500 Oh"), "ScrapeFailed"),
        (http(gzip.compress(b""), "200 OK", "Content-Encoding: gzip"), "MalformedAnswer"),
        (b"SSH-2.0\r\n", "ScrapeFailed"),
        (b"", "ScrapeFailed"),
        (None, "ScrapeTimeout"),
    ],
    ids=["redirect", "error", "compressed", "no HTTP", "closed", "silent"],
)
async def test_a_pod_that_answers_badly_is_a_reason(answer, reason, session):
    async with Peer(answer).running() as peer:
        source = ScrapeSource(session, port=peer.port, timeout=0.3)
        reading = (await source.current("ns", [RunningPod("t", "127.0.0.1")], "accuracy"))["t"]
    assert isinstance(reading, Unavailable)
    assert reading.reason == reason
    # The client repeats a GET once where the connection was closed without a word; it follows no redirect.
    assert len(peer.requests) == (2 if answer == b"" else 1)


@pytest.mark.parametrize("address", [None, "", "example.org", "127.0.0.1/x", "127.0.0.1:80@evil"])
async def test_a_pod_without_an_address_is_not_scraped(address, session):
    reading = (await ScrapeSource(session).current("ns", [RunningPod("t", address)], "accuracy"))["t"]
    assert isinstance(reading, Unavailable)
    assert reading.reason == "NoAddress"


async def test_many_silent_pods_cost_one_round(session, monkeypatch):
    monkeypatch.setattr("archsearch_operator.scrape.ROUND_TIMEOUT_SECONDS", 0.5)
    async with Peer(None).running() as peer:
        source = ScrapeSource(session, port=peer.port, timeout=0.4)
        began = time.monotonic()
        readings = await source.current("ns", [RunningPod(f"t{i}", "127.0.0.1") for i in range(300)], "accuracy")
    assert time.monotonic() - began < 2
    assert len(readings) == 300
    assert {reading.reason for reading in readings.values()} == {"ScrapeTimeout"}


async def test_what_is_remembered_of_pods_is_bounded(session, monkeypatch):
    monkeypatch.setattr("archsearch_operator.scrape.MAX_REMEMBERED", 3)
    page = b'archsearch_trial_objective{metric="accuracy",split="selection"} 0.5\n'
    async with Peer(http(page)).running() as peer:
        source = ScrapeSource(session, port=peer.port)
        for index in range(5):
            await source.current("ns", [RunningPod(f"t{index}", "127.0.0.1")], "accuracy")
    known = [isinstance(await source.final("ns", f"t{i}", None, None, FINISHED), Reading) for i in range(5)]
    assert known == [False, False, True, True, True]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='archsetilobjv_{}",=\\ 01.eN#\t', max_size=60))
def test_any_line_is_values_or_a_reason(text):
    try:
        values, _ = objectives_of(f"archsearch_trial_objective{text}\n".encode())
    except AnswerError:
        return
    assert all(math.isfinite(value) for value in values.values())


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ({"accuracy": 0.5}, {"accuracy": 0.5}, "Agrees"),
        ({"accuracy": 0.5}, {"accuracy": 0.5 * (1 + 9e-7)}, "Agrees"),
        ({"accuracy": 0.5}, {"accuracy": 0.5 * (1 + 2e-6)}, "Disagrees"),
        ({"accuracy": 0.0}, {"accuracy": 0.0, "parameters": 5}, "Agrees"),
        ({"accuracy": 0.5, "loss": 1.0}, {"accuracy": 0.5, "loss": 2.0}, "Disagrees"),
        ({"accuracy": 0.5, "loss": 1.0}, {"accuracy": 0.5}, "Agrees"),
        ({"accuracy": 0.5}, {"loss": 0.5}, "NothingToCompare"),
        ({"accuracy": 0.5}, {}, "NothingToCompare"),
    ],
)
def test_readings_agree_within_a_millionth(ours, theirs, reason):
    verdict = cross_check(Reading(ours, (), 1.5, "http://p HTTP status 200"), theirs)
    assert (verdict.available, verdict.reason) == (reason == "Agrees", reason)
    assert "1.5 s before" in verdict.message
    assert "HTTP status 200" in verdict.message


def test_a_curve_keeps_the_last_value_of_an_epoch_and_stays_short():
    assert curve_of([(0, 9.0), (1, 0.1), (2, 0.1), (2, 0.2), (float("nan"), 1.0), (3, float("inf"))]) == (
        (1, 0.1),
        (2, 0.2),
    )
    long = curve_of((epoch, epoch / 10) for epoch in range(1, 5001))
    assert len(long) <= 512
    assert long[-1] == (5000, 500.0)
    assert curve_of([]) == ()


@pytest.fixture
async def unused_port() -> int:
    async with Peer(b"").running() as peer:
        return peer.port


def test_epochs_and_values_that_no_trial_can_have_are_left_out_of_a_curve():
    """Each point that is kept must fit in a trial's record: the search of a boasting pod would stand still."""
    points = [(0, 0.1), (1, 0.2), (1e12, 0.3), (2, 1e300), (3, math.nan), (math.inf, 0.4), (4, -1e99)]
    curve = curve_of(points)
    assert curve == ((1, 0.2), (4, -1e99))
    assert [CurvePoint(epoch=epoch, value=value).epoch for epoch, value in curve] == [1, 4]
