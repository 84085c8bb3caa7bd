"""The real process: signals, a scrape over HTTP, exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archsearch.api.work import decode

if TYPE_CHECKING:
    from tests.work.conftest import Workplace


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, or needs names that are no text")


@contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Never leaves it behind."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """The first line of the log that matches."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"no line matches {pattern}:\n{''.join(lines)}")


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    text, _ = process.communicate(timeout=60)
    assert process.returncode is not None
    return process.returncode, text.splitlines()


def test_a_terminated_training_goes_on_as_if_nothing_had_happened(workplace: Workplace, cell: dict[str, Any]) -> None:
    """The weights' sha256, all metrics and the curve are equal."""
    document = workplace.document("Retrain", spec={"architecture": cell, "epochs": 16})
    with running(workplace.start(document)) as process:
        until(process, "^epoch 3/16:")
        process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        code, log = ended(process)
        assert time.monotonic() - told < 5
    assert code == 143
    assert re.search(r"told to stop after \d+ of 16 epochs, saved", log[-2])
    assert not workplace.termination.exists()
    assert (workplace.artifacts / "digits-abcde-3" / "checkpoint" / "current").exists()

    with running(workplace.start(document)) as process:
        done = int(until(process, r"going on from a checkpoint: (\d+) of 16").group(1))
        assert 3 <= done < 16
        until(process, rf"^epoch {done + 1}/16:")
        assert ended(process)[0] == 0
    resumed = decode(workplace.termination.read_text())

    with running(workplace.start(workplace.document("Retrain", spec={"architecture": cell, "epochs": 16}))) as process:
        assert ended(process)[0] == 0
    whole = decode(workplace.termination.read_text())
    assert resumed == whole
    assert resumed.artifacts[0].sha256 == whole.artifacts[0].sha256
    assert not (workplace.artifacts / "digits-abcde-3" / "checkpoint").exists()


def test_the_last_value_is_scraped_before_the_process_ends(workplace: Workplace, cell: dict[str, Any]) -> None:
    document = workplace.document("Train", spec={"architecture": cell, "epochs": 2}, scrapeTimeoutSeconds=600)
    with running(workplace.start(document)) as process:
        port = until(process, r"metrics: port (\d+)").group(1)
        until(process, "^result: ")
        time.sleep(0.5)  # it waits
        assert process.poll() is None
        message = decode(workplace.termination.read_text())  # written before the wait
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        read = time.monotonic()
        code, log = ended(process)
        assert time.monotonic() - read < 10
    assert code == 0
    assert log[-1] == "the final metrics were read"
    for name, value in message.metrics.items():
        shown = re.search(rf'archsearch_trial_objective{{metric="{name}",split="selection"}} (.*)', text)
        assert shown is not None, name
        assert float(shown.group(1)) == value
    assert "archsearch_trial_epoch 2.0" in text
    assert re.search(r"^\w*{[^}]*\b(job|instance|pod)=", text, re.MULTILINE) is None


def test_a_signal_outside_of_training_ends_it_at_once(workplace: Workplace, cell: dict[str, Any]) -> None:
    with running(workplace.start(workplace.document("Preflight"))) as process:
        until(process, "Preflight, seed")  # it imports PyTorch now
        process.send_signal(signal.SIGTERM)
        code, log = ended(process)
    assert code == 143
    assert log[-1] == "told to stop"
    assert not any("Traceback" in line for line in log)


def listens(process: subprocess.Popen[str]) -> bool:
    """Whether SIGTERM no longer ends it unheard: its bit among the signals that are caught (proc(5))."""
    assert process.poll() is None
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE).group(1), 16)  # type: ignore[union-attr]
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@on_linux
def test_more_signals_change_nothing(workplace: Workplace, cell: dict[str, Any]) -> None:
    """A person who presses Ctrl-C again and again, from the first import to the end of the process."""
    with running(workplace.start(workplace.document("Preflight"))) as process:
        while not listens(process):
            time.sleep(0.001)
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
        code, log = ended(process)
    assert (code, log[-1:]) in ((143, []), (143, ["told to stop"])), log


@on_linux
def test_an_error_about_a_name_that_is_no_text_is_written_out(workplace: Workplace, cell: dict[str, Any]) -> None:
    data = workplace.root / "data"
    data.mkdir()
    (data / os.fsdecode(b"\xff\xfe.txt")).touch()
    dataset = {"volume": {"claimName": "data", "path": "no"}}
    document = workplace.document("Train", spec={"architecture": cell, "epochs": 1}, paths={"data": str(data)},
                                  task={"imageClassification": {"dataset": dataset}})  # fmt: skip
    with running(workplace.start(document)) as process:
        code, log = ended(process)
    assert code == 3
    error = str(decode(workplace.termination.read_text()).error)
    assert error.endswith(r"(there is \udcff\udcfe.txt)")
    assert log[-1] == f"error: {error}"


def test_garbage_is_refused_without_waiting_for_pytorch(workplace: Workplace) -> None:
    start = time.monotonic()
    with running(workplace.start("nonsense")) as process:
        code, log = ended(process)
    assert code == 3
    assert log == [
        "error: ARCHSEARCH_WORK must be JSON, but got 'nonsense' (Expecting value: line 1 column 1 (char 0))"
    ]
    assert decode(workplace.termination.read_text()).error == log[0].removeprefix("error: ")
    assert time.monotonic() - start < 10
