"""A run in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_runs import Run, spec_of


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Makes a run from changes to the spec and the worker's instructions."""
    runs: list[Run] = []

    def make(name: str = "run", *, config: dict[str, Any] | None = None, **spec: Any) -> Run:
        runs.append(Run(tmp_path / name, spec_of(**spec), config or {}))
        return runs[-1]

    yield make
    for run in runs:
        run.end()
