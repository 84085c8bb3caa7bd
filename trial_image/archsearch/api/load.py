"""Reads a search from a file, with the refusals that the API server would give, and all of them at once."""

from __future__ import annotations

import copy
import difflib
import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from archsearch.api.base import API_VERSION, LABEL_PATTERN
from archsearch.api.document import Document, InvalidYaml, Position, parse
from archsearch.api.overrides import apply
from archsearch.api.search import KIND, MAX_NAME, ArchitectureSearchSpec
from archsearch.api.structural import Schema, structural

Metadata = dict[str, Any]

_FIELDS: Final = ("apiVersion", "kind", "metadata", "spec", "status")


@dataclass(frozen=True)
class Problem:
    """What is wrong with one field: its dotted path, and the line it is on (from 1; None for an override)."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class InvalidSpec(ValueError):
    """A file that is not a valid search; str() has a line for each of the `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def read_search(source: Path | str, overrides: Iterable[str] = ()) -> tuple[Metadata, ArchitectureSearchSpec]:
    r"""The metadata and the spec of the one ArchitectureSearch in a YAML file (a Path) or text (a str).

    overrides: `path.to.field=value`, applied in this order: the path below `spec`, the value in YAML. A number in a
    path is a position in a list, a dot in a name is written `\.`, and `null` removes a field.
    Raises InvalidSpec with everything that is wrong, and OSError for a file that cannot be read.
    """
    text = source.read_text(encoding="utf-8", errors="replace") if isinstance(source, Path) else source
    try:
        document = parse(text)
    except InvalidYaml as error:
        raise InvalidSpec([Problem("", str(error), error.line)]) from None
    if not isinstance(document.value, dict):
        hint = " (a file is given as a Path)" if isinstance(source, str) else ""
        raise InvalidSpec([Problem("", f"must be a resource of kind {KIND}, but got {_shown(document.value)}{hint}")])

    problems = [_problem(document, position, message) for position, message in _envelope(document)]
    body = document.value.get("spec")
    if not isinstance(body, dict):
        raise InvalidSpec([*problems, _problem(document, ("spec",), f"must be an object, but got {_shown(body)}")])
    written: dict[Position, str] = {}
    for override in overrides:
        try:
            changed = copy.deepcopy(body)
            position, raw = apply(changed, override)
        except ValueError as error:
            problems.append(Problem(f"override {override}", str(error)))
        else:
            body = changed
            written[position] = raw
    outcome = _validate(body, written)
    if isinstance(outcome, ArchitectureSearchSpec) and not problems:
        return document.value["metadata"], outcome
    if not isinstance(outcome, ArchitectureSearchSpec):
        for position, message in (found for detail in outcome for found in _found(detail)):
            overridden = any(position[: len(other)] == other for other in written)
            problems.append(_problem(document, ("spec", *position), message, has_line=not overridden))
    raise InvalidSpec(sorted(problems, key=lambda problem: problem.line or 0))


def _problem(document: Document, position: Position, message: str, *, has_line: bool = True) -> Problem:
    path = ".".join(str(part) for part in position)
    return Problem(path, message, document.line(position) if has_line else None)


def _envelope(document: Document) -> Iterator[tuple[Position, str]]:
    """What is wrong around the spec."""
    resource = document.value
    for position, line in document.repeated:
        yield position, f"must be written once, but is written again in line {line}"
    for name in resource.keys() - set(_FIELDS):
        yield (name,), _unknown(name, _FIELDS)
    for name, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if resource.get(name) != expected:
            yield (name,), f"must be {expected}, but got {_shown(resource.get(name))}"
    metadata = resource.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str):
        yield ("metadata", "name"), f"must be a text, but got {_shown(name)}"
    elif not re.fullmatch(LABEL_PATTERN, name):
        rule = "must be lower-case letters, digits and dashes, and begin and end with a letter or digit"
        yield ("metadata", "name"), f"{rule}, but got {_shown(name)}"
    elif len(name) > MAX_NAME:
        yield ("metadata", "name"), f"must be at most {MAX_NAME} characters long, but got {_shown(name)}"


def _validate(body: dict[str, Any], written: dict[Position, str]) -> ArchitectureSearchSpec | list[ErrorDetails]:
    """The spec, or what is wrong with it. Types are strict, as the API server's are."""
    value = _without_nulls(body)
    while True:
        try:
            return ArchitectureSearchSpec.model_validate_json(
                json.dumps(value), strict=True, extra="forbid", by_alias=True, by_name=False
            )
        except ValidationError as error:
            details = error.errors(include_url=False)
        # `learningRate=0.1` on a command line cannot be told from a number; where a text is wanted it is one.
        texts = [loc for detail in details if detail["type"] == "string_type" and (loc := detail["loc"]) in written]
        if not texts:
            return details
        for loc in texts:
            *parents, last = loc
            functools.reduce(lambda node, part: node[part], parents, value)[last] = written[loc]


def _without_nulls(value: Any) -> Any:
    """The API server takes `null` for a field that is left out."""
    if isinstance(value, dict):
        return {name: _without_nulls(child) for name, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if isinstance(value, list) else value


def _found(detail: ErrorDetails) -> Iterator[tuple[Position, str]]:
    """Where the problem is and what it is; a model's checks are one error to pydantic, but several to a reader."""
    # Pydantic marks a map's key that is wrong with a part of its own.
    position = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] != "value_error" or not isinstance(detail["input"], dict):
        yield position, _message(detail)
        return
    for problem in detail["msg"].removeprefix("Value error, ").split("; "):
        # A check says "sample must not be …" of the model: the problem is the field's.
        field = re.match(r"([A-Za-z0-9.]+) (must .*)", problem)
        yield ((*position, *field[1].split(".")), field[2]) if field else (position, problem)


def _message(detail: ErrorDetails) -> str:
    """What is wrong, in the words of the rest of the program."""
    value = detail["input"]
    match detail["type"]:
        case "missing":
            return "must be set"
        case "extra_forbidden":
            *parents, name = detail["loc"]
            return _unknown(str(name), _fields_at(parents))
        case "string_type":
            quotes = f': write it in quotes, "{_shown(value)}"' if isinstance(value, int | float) else ""
            return f"must be a text, but got {_shown(value)}{quotes}"
        case "value_error":
            message = detail["msg"].removeprefix("Value error, ")
        case _:
            message = re.sub(r"^\w+ should ", "must ", detail["msg"]).replace(" after validation", "")
    return message if isinstance(value, dict | list) or "but got" in message else f"{message}, but got {_shown(value)}"


def _unknown(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"is not a field, did you mean {close[0]}?" if close else f"is not a field: {', '.join(known)} are"


def _fields_at(position: Sequence[str | int]) -> Iterable[str]:
    node: Schema = _schema()
    for part in position:
        node = node["items"] if isinstance(part, int) else node["properties"][part]
    return tuple(node["properties"])


@functools.cache
def _schema() -> Schema:
    return structural(ArchitectureSearchSpec)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
