"""How the process takes its work, ends, and says how it ended. What the work is, is in the module of its kind."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from archsearch.api.trial import WorkKind
from archsearch.api.work import (
    EXIT_INFEASIBLE,
    EXIT_INTERRUPTED,
    EXIT_RESULT,
    EXIT_USER_ERROR,
    TERMINATION_PATH,
    WORK_VARIABLE,
    Message,
    Work,
    explain,
)
from archsearch.work.errors import Failed, Infeasible, UserError
from archsearch.work.files import write_whole
from archsearch.work.interruption import Interrupted, Interruption
from archsearch.work.metrics import Metrics, Series, series

TERMINATION_VARIABLE: Final = "ARCHSEARCH_TERMINATION_PATH"
EXIT_CRASH: Final = 1
MAX_ERROR: Final = 1024
MAX_ERROR_JSON: Final = 3 * MAX_ERROR
"""Bytes of an error in the message, where a character that is not ASCII takes 6 or 12; the others are for the rest."""

KINDS: Final[dict[WorkKind, str]] = {
    "Preflight": "archsearch.work.preflight",
    "Propose": "archsearch.work.propose",
    "SharedWeights": "archsearch.work.shared_weights",
    "Features": "archsearch.work.features",
    "Evaluate": "archsearch.work.evaluate",
    "Table": "archsearch.work.table",
    "Train": "archsearch.work.train",
    "Supernet": "archsearch.work.supernet",
    "Score": "archsearch.work.score",
    "Lookup": "archsearch.work.lookup",
    "Profile": "archsearch.work.profile",
    "Retrain": "archsearch.work.retrain",
    "Export": "archsearch.work.export",
}
"""The module of each kind; its `run` does the work. Imported when needed: bad input is refused without torch."""
ENAS: Final = "archsearch.work.enas"
"""The module of Supernet where the algorithm is `enas`."""


def main(interruption: Interruption, environment: Mapping[str, str] = os.environ) -> int:
    """Do the work of the environment; returns the exit code of api/work.py. Never raises an Exception."""
    target = Path(environment.get(TERMINATION_VARIABLE) or TERMINATION_PATH)
    try:
        try:
            return _work(interruption, read_work(environment), target)
        except Exception as error:
            interruption.finish()
            return _failed(error, target)
    except Interrupted:
        log("told to stop")
        return EXIT_INTERRUPTED


def read_work(environment: Mapping[str, str]) -> Work:
    """The work that the environment describes. Raises UserError with the field, what is wrong, and the value."""
    text = environment.get(WORK_VARIABLE)
    if not text:
        raise UserError(f"{WORK_VARIABLE} must hold the work as JSON, but is {'empty' if text == '' else 'not set'}")
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{WORK_VARIABLE} must be JSON, but got {text[:80]!r} ({error})") from None
    try:
        return Work.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{WORK_VARIABLE}: {explain(error)}") from None


def log(text: str) -> None:
    """One line of the log, readable while the work goes on."""
    print(text.replace("\n", " "), flush=True)


def write_message(message: Message, path: Path) -> None:
    """Write the termination message: whole or not at all where the path allows it. May raise OSError, ValueError.

    Kubernetes mounts a single file in a folder that is not ours: there it is one write, which nobody reads before the
    process has ended.
    """
    content = message.encode().encode()
    try:
        write_whole(path, content)
    except OSError:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)


def _work(interruption: Interruption, work: Work, target: Path) -> int:
    metrics = Metrics(work.scraper)
    metrics.set({series("archsearch_trial_info", work=work.spec.work): 1})
    served = _serve(metrics, work)
    log(f"{work.search} {work.trial}: {work.spec.work}, seed {work.spec.seed}")

    from archsearch.work.context import Context
    from archsearch.work.device import make_deterministic

    make_deterministic()
    context = Context(work, metrics, interruption, log)
    module = ENAS if work.spec.work == "Supernet" and work.algorithm.enas else KINDS[work.spec.work]
    message: Message = importlib.import_module(module).run(context)
    interruption.finish()
    log(f"result: {json.dumps(message.metrics)}")
    write_message(message, target)
    for clean in context.cleanup:
        clean()
    metrics.set(shown(message.metrics), final=True)
    if served and work.scrape_timeout_seconds:
        seen = metrics.await_scrape(work.scrape_timeout_seconds, interruption.requested)
        log("the final metrics were read" if seen else "nobody read the final metrics in time")
    return EXIT_RESULT


def _serve(metrics: Metrics, work: Work) -> bool:
    try:
        port = metrics.serve(work.metrics_port)
    except OSError as error:
        log(f"no metrics: port {work.metrics_port} cannot be opened ({error})")
        return False
    log(f"metrics: port {port}")
    return True


def shown(metrics: Mapping[str, float]) -> dict[Series, float]:
    """The numbers of a result as series. `testAccuracy` is the accuracy on the test images; the others count, or
    choose, and have the split `selection`."""
    found = {}
    for name, value in metrics.items():
        test = name.startswith("test") and name[4:5].isupper() and name != "testExamples"
        metric, split = (name[4].lower() + name[5:], "test") if test else (name, "selection")
        found[series("archsearch_trial_objective", metric=metric, split=split)] = value
    return found


def _failed(error: Exception, target: Path) -> int:
    """Say what went wrong: in the log's last line, and in the message where the user can change it. The exit code."""
    from archsearch.work.crash import describe, user_errors

    if isinstance(error, (Failed, *user_errors())):
        log(f"error: {error}")
        return _end(EXIT_CRASH if isinstance(error, Failed) else EXIT_USER_ERROR, Message(error=_short(error)), target)
    if isinstance(error, Infeasible):
        log(f"infeasible: {error}")
        return _end(EXIT_INFEASIBLE, Message(error=_short(error), metrics=error.metrics), target)
    # No message: Kubernetes takes the end of the log in its place.
    if (known := describe(error)) is None:
        traceback.print_exception(error, file=sys.stdout)
    log(known or f"crashed: {type(error).__name__}: {error}")
    return EXIT_CRASH


def _end(code: int, message: Message, target: Path) -> int:
    try:
        write_message(message, target)
    except OSError as error:
        log(f"the termination message cannot be written to {target} ({error})")
        log(str(message.error))  # again, because the last line is what is looked at then
    return code


def _short(error: Exception) -> str:
    """What a message can hold of the error. Bytes that are no text, as in the names of some files, are written out."""
    text = shown = str(error).encode(errors="backslashreplace").decode()
    while len(shown) > MAX_ERROR or len(json.dumps(shown)) > MAX_ERROR_JSON:
        text = text[: min(MAX_ERROR, len(text)) - 1]
        shown = text + "…"
    return shown
