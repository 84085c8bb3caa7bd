"""The questions put to a Prometheus server and the reading of its answers. Pure: no connection is opened here.

An answer is input from elsewhere: whatever it holds, `parse` returns series or raises `AnswerError`.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from archsearch_operator.readings import EPOCH_METRIC, OBJECTIVE_METRIC, SELECTION, shortened

MARK: Final = "archsearch_query"
"""A label that the queries add, so that one answer can hold values, epochs and the times of the samples."""
TAIL_SECONDS: Final = 600
"""How far back the time of the last sample is looked for, in steps of one second."""

_MAX_SERIES: Final = 5_000
_MAX_LABELS: Final = 64
# What Prometheus writes for a number. float() alone would also take "1_0", " 1 " and other scripts' digits.
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
# Short and shallow: repr() itself would recurse as deep as the answer is nested.
_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 160
_REPR.maxlist = _REPR.maxdict = 3
_REPR.maxlevel = 3
_SPECIAL: Final = {"NaN": math.nan, "+Inf": math.inf, "-Inf": -math.inf, "Inf": math.inf}


class AnswerError(Exception):
    """An answer that cannot be used; `reason` is one CamelCase word, str() says what was found."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(shortened(message, 400))


@dataclass(frozen=True)
class Series:
    """One time series of an answer: its labels and its samples as (Unix time, value), in the server's order."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]

    def label(self, name: str) -> str:
        """The label's value; empty where the series lacks it, as in PromQL."""
        return self.labels.get(name, "")


def final_query(namespace: str, trial: str, window_seconds: int) -> str:
    """The last value of each objective of a trial within the window, and when it was sampled.

    last_over_time looks behind the staleness that sets in when a pod is gone. The time of the sample needs a
    subquery, because last_over_time itself is stamped with the moment of the query.
    """
    objective = _selector(OBJECTIVE_METRIC, namespace=namespace, trial=trial, split=SELECTION)
    tail = min(window_seconds, TAIL_SECONDS)
    return (
        f"last_over_time({objective}[{window_seconds}s]) or "
        f"{_marked(f'max_over_time(timestamp({objective})[{tail}s:1s])', 'time')}"
    )


def current_query(namespace: str, trials: Sequence[str], metric: str) -> str:
    """An objective, the epoch and the time of the last sample of running trials, for a range query."""
    # Grouped, so that the answer repeats two short labels and not all that a pod has.
    matcher: dict[str, str | tuple[str, ...]] = {"namespace": namespace, "trial": tuple(trials)}
    objective = _selector(OBJECTIVE_METRIC, **matcher, metric=metric, split=SELECTION)
    return " or ".join(
        _marked(f"max by (trial, pod) ({expression})", mark)
        for mark, expression in (
            ("value", objective),
            ("epoch", _selector(EPOCH_METRIC, **matcher)),
            ("time", f"timestamp({objective})"),
        )
    )


def _marked(expression: str, mark: str) -> str:
    return f'label_replace({expression}, "{MARK}", "{mark}", "", "")'


def _selector(name: str, **matchers: str | tuple[str, ...]) -> str:
    return f"{name}{{{','.join(_matcher(label, value) for label, value in matchers.items())}}}"


def _matcher(label: str, value: str | tuple[str, ...]) -> str:
    if isinstance(value, str):
        return f"{label}={quoted(value)}"
    return f"{label}=~{quoted('|'.join(re.escape(item) for item in value))}"


def quoted(text: str) -> str:
    """A PromQL string literal of any text."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def parse(body: bytes, kind: str) -> list[Series]:
    """The series of an answer whose result must be a `vector` or a `matrix`. Raises AnswerError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise AnswerError("MalformedAnswer", f"the answer is not JSON: {_show(body)}") from None
    answer = _object(document, "the answer")
    if answer.get("status") == "error":
        raise AnswerError("PrometheusError", f"{_text(answer.get('errorType'))}: {_text(answer.get('error'))}")
    if answer.get("status") != "success":
        raise _malformed("status", "success or error", answer.get("status"))
    # A warning says that a part of the data could not be read: the value that counts may be in that part.
    if answer.get("warnings") not in (None, []):
        raise AnswerError("PrometheusWarning", f"the server warns: {_show(answer['warnings'])}")
    data = _object(answer.get("data"), "data")
    if data.get("resultType") != kind:
        raise _malformed("data.resultType", kind, data.get("resultType"))
    result = data.get("result")
    if not isinstance(result, list) or len(result) > _MAX_SERIES:
        raise _malformed("data.result", f"a list of at most {_MAX_SERIES}", result)
    return [_series(item, kind) for item in result]


def _series(item: Any, kind: str) -> Series:
    series = _object(item, "a series")
    labels = _object(series.get("metric"), "metric")
    if len(labels) > _MAX_LABELS or not all(isinstance(value, str) for value in labels.values()):
        raise _malformed("metric", f"at most {_MAX_LABELS} labels that are strings", labels)
    samples = [series.get("value")] if kind == "vector" else series.get("values")
    if not isinstance(samples, list):
        raise _malformed("values", "a list", samples)
    return Series(labels, tuple(_sample(sample) for sample in samples))


def _sample(sample: Any) -> tuple[float, float]:
    if not isinstance(sample, list) or len(sample) != 2:
        raise _malformed("a sample", "[time, value]", sample)
    time, text = sample
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time < 1e12:
        raise _malformed("a sample's time", "seconds since 1970", time)
    if not isinstance(text, str) or not (text in _SPECIAL or (len(text) <= 64 and _NUMBER.fullmatch(text))):
        raise _malformed("a sample's value", "a number in a string", text)
    return float(time), _SPECIAL[text] if text in _SPECIAL else float(text)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _malformed(what, "an object", value)
    return value


def _malformed(what: str, wanted: str, found: Any) -> AnswerError:
    return AnswerError("MalformedAnswer", f"{what} must be {wanted}, but got {_show(found)}")


def _text(value: Any) -> str:
    return shortened(value, 200) if isinstance(value, str) and value else "unknown"


def _show(value: Any) -> str:
    return _REPR.repr(value[:120] if isinstance(value, bytes) else value)
