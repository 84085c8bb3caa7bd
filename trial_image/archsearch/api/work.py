"""The contract with a container: the document it is given, and the message with which it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError, field_validator

from archsearch.api.algorithm import Algorithm
from archsearch.api.base import MAX_BATCH, Model, ObjectName
from archsearch.api.evaluation import Evaluation
from archsearch.api.metrics import LARGEST, usable
from archsearch.api.search import Constraint, Export, Objective, Profile
from archsearch.api.space import Space
from archsearch.api.task import Task
from archsearch.api.trial import ArchitectureTrialSpec, TrialResult

WORK_VARIABLE: Final = "ARCHSEARCH_WORK"
TERMINATION_PATH: Final = "/dev/termination-log"
MAX_MESSAGE: Final = 4096
METRICS_PORT: Final = 9464
OPERATOR_AGENT: Final = "archsearch-operator"
"""User-Agent of the operator where it scrapes trials itself."""
SCRAPE_SECONDS: Final = 10
"""How long a trial waits at its end until its last numbers were scraped."""

EXIT_RESULT: Final = 0
EXIT_USER_ERROR: Final = 3
EXIT_INFEASIBLE: Final = 42
EXIT_INTERRUPTED: Final = 143

METRIC_NAME: Final = r"^[A-Za-z][A-Za-z0-9_@.-]{0,80}$"


class Paths(Model):
    """Folders as the container sees them."""

    data: str | None = None
    """The data volume, read-only; None for a data set that the image carries."""
    table: str | None = None
    """The volume of a table of results, read-only; None where there is none."""
    artifacts: str | None = None
    """The folder of this search on the artifact volume; None where there is none."""
    artifacts_uri: str | None = None
    """The same folder as others name it: `pvc://CLAIM/PATH`."""
    scratch: str = "/tmp"  # noqa: S108 - a folder of the pod's own, not a shared one
    """Files that may vanish with the container."""


class Work(Model):
    """One piece of work, complete: nothing else is needed to do it."""

    version: Literal[1] = 1
    search: str
    """`namespace/name`, for messages and metrics."""
    trial: ObjectName
    """The trial's name, and that of its folder on the artifact volume."""
    spec: ArchitectureTrialSpec
    """What is to be done."""
    task: Task
    space: Space
    algorithm: Algorithm
    evaluation: Evaluation | None = None
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    profile: Profile | None = None
    """The hardware profile to measure, for `Profile` and `Table`."""
    profiles: tuple[Profile, ...] = ()
    """All hardware profiles: what is known of their latency while searching."""
    export: Export = Export()
    evidence: str = ""
    """What a searcher is told, for `Propose`; see `planning.evidence`."""
    paths: Paths = Paths()
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = METRICS_PORT
    """Where `/metrics` is served; 0: any free port."""
    scrape_timeout_seconds: Annotated[int, Field(ge=0, le=600)] = SCRAPE_SECONDS
    """How long the end waits for one last scrape; 0: not at all."""
    scraper: Annotated[str, StringConstraints(max_length=64)] = ""
    """Whose scrape the end waits for, as the beginning of its User-Agent; empty for anybody's."""


class Message(TrialResult):
    """The termination message. It comes from a container that may be anyone's, and is checked as such."""

    version: Literal[1] = 1
    error: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """What the user is to know, where there is no result."""

    @field_validator("metrics")
    @classmethod
    def _finite(cls, metrics: dict[str, float]) -> dict[str, float]:
        _check_metrics(metrics)
        return metrics

    @field_validator("results")
    @classmethod
    def _all_finite(cls, results: tuple[dict[str, float], ...]) -> tuple[dict[str, float], ...]:
        for metrics in results:
            _check_metrics(metrics)
        return results

    def encode(self) -> str:
        """Compact JSON of at most 4,096 bytes; the curve is thinned until it fits. ValueError if it cannot fit.

        Results of many architectures are written by metric, so that its name is there once.
        """
        message, results = self, _columns(self.results)
        while len(text := json.dumps(message.wire() | results, separators=(",", ":"))) > MAX_MESSAGE:
            if not message.curve:
                raise ValueError(f"the termination message must be at most {MAX_MESSAGE} bytes, but got {len(text)}")
            message = message.model_copy(update={"curve": message.curve[1::2] if len(message.curve) > 1 else ()})
        return text


def _check_metrics(metrics: Mapping[str, float]) -> None:
    if len(metrics) > 64:
        raise ValueError(f"metrics must have at most 64 entries, but got {len(metrics)}")
    for name, value in metrics.items():
        if not re.match(METRIC_NAME, name):
            raise ValueError(f"metrics must have names like {METRIC_NAME}, but got {name[:80]!r}")
        if not usable(value):
            raise ValueError(f"metrics must be finite and at most {LARGEST:g}, but got {name}={value}")


def _columns(results: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """By metric the value of each result, None where it has none; nothing where there are no results."""
    if not results:
        return {}
    names = sorted({name for metrics in results for name in metrics})
    columns = {name: [metrics.get(name) for metrics in results] for name in names}
    return {"resultCount": len(results), "results": columns}


def _rows(document: Any) -> Any:
    """A message whose results are by metric with one for each architecture. Raises ValueError where they do not fit."""
    columns = document.get("results")
    if not isinstance(columns, dict):
        return document
    count = document.get("resultCount")
    if not isinstance(count, int) or not 0 <= count <= MAX_BATCH:
        raise ValueError(f"resultCount must be from 0 to {MAX_BATCH}, but got {count!r:.80}")
    if wrong := [name for name, column in columns.items() if not isinstance(column, list) or len(column) != count]:
        raise ValueError(f"results must have {count} values of each metric, but {wrong[0]!s:.80} has not")
    rows = [{name: column[at] for name, column in columns.items() if column[at] is not None} for at in range(count)]
    return document | {"results": rows}


class InvalidMessage(ValueError):
    """A termination message that breaks the contract; str() says which field and what it held."""


def decode(text: str) -> Message:
    """Read a termination message. Raises InvalidMessage on anything that is not one."""
    if len(text.encode()) > MAX_MESSAGE:
        raise InvalidMessage(f"termination message must be at most {MAX_MESSAGE} bytes, but got {len(text.encode())}")
    if not text.strip():
        raise InvalidMessage("termination message is empty: the container wrote nothing to /dev/termination-log")
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidMessage(f"termination message must be JSON, but got {text[:120]!r}") from None
    if not isinstance(document, dict):
        raise InvalidMessage(f"termination message must be a JSON object, but got {text[:120]!r}")
    try:
        return Message.model_validate(_rows(document))
    except ValidationError as error:
        raise InvalidMessage(f"termination message: {explain(error)}") from None
    except ValueError as error:
        raise InvalidMessage(f"termination message: {error}") from None


def explain(error: ValidationError) -> str:
    """The problems of a validation error on one line: each field, what is wrong, and the value."""
    parts = []
    for item in error.errors()[:5]:
        where = ".".join(str(part) for part in item["loc"]) or "document"
        parts.append(f"{where}: {item['msg'].removeprefix('Value error, ')} (got {str(item['input'])[:80]!r})")
    return "; ".join(parts)
