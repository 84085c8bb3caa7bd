"""What `make test` counts and leaves out; the parts themselves are played by a program called make."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import binaries
from cluster.paths import REPOSITORY


def suite(folder: Path, closing: str, *, system: str = "Linux", **environment: str) -> tuple[int, list[str]]:
    """The exit code and the lines after the parts, on a machine of this system."""
    programs = {"make": f'echo "part: $2"; echo "{closing}"', "uname": f"echo {system}", "id": "echo 0"}
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    env = {**os.environ, "CLUSTER": "", "PATH": f"{folder}:{os.environ['PATH']}", **environment}
    done = subprocess.run([REPOSITORY / ".ci" / "suite"], env=env, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def parts(lines: list[str]) -> list[str]:
    return [line.removeprefix("part: ") for line in lines if line.startswith("part: ")]


@pytest.mark.parametrize(
    ("closing", "code", "counted"),
    [
        ("===== 5 passed, 2 skipped in 0.1s =====", 0, "10 passed, 0 failed, 4 skipped"),
        ("===== 3 skipped, 9 deselected in 0.1s =====", 0, "0 passed, 0 failed, 6 skipped"),
        ("===== 1 failed, 4 passed, 1 error in 0.1s =====", 1, "8 passed, 4 failed, 0 skipped"),
        ("nothing that pytest says, 7 passed", 0, "0 passed, 0 failed, 0 skipped"),
    ],
)
def test_all_parts_are_counted_together(tmp_path: Path, closing: str, code: int, counted: str) -> None:
    result, lines = suite(tmp_path, closing, system="Darwin")
    assert (result, lines[-1]) == (code, counted)


def test_a_mac_runs_what_needs_no_cluster_and_says_what_it_left_out(tmp_path: Path) -> None:
    _, lines = suite(tmp_path, "", system="Darwin")
    assert parts(lines) == ["lint", "unit"]
    assert "left out: api: needs Linux" in lines
    assert "left out: integration: needs Linux, or another cluster with CLUSTER=current" in lines


def test_a_mac_with_a_cluster_leaves_out_the_api_server_only(tmp_path: Path) -> None:
    _, lines = suite(tmp_path, "", system="Darwin", CLUSTER="current")
    assert parts(lines) == ["lint", "unit", "integration"]
    assert [line for line in lines if "left out" in line] == ["left out: api: needs Linux"]


def test_with_another_cluster_nothing_is_done_to_this_machines_own() -> None:
    lifecycle = "tests/cluster/test_cluster_lifecycle.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", lifecycle],
        cwd=REPOSITORY,
        env={**os.environ, "CLUSTER": "current"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"^\d+ skipped in", done.stdout, re.MULTILINE), done.stdout
    assert "about this machine's own cluster" in done.stdout


@pytest.mark.skipif(binaries.missing("kubernetes") is not None, reason="needs Go")
def test_root_on_linux_with_go_runs_everything(tmp_path: Path) -> None:
    _, lines = suite(tmp_path, "")
    assert parts(lines) == ["lint", "unit", "api", "integration"]
    assert not [line for line in lines if "left out" in line]
