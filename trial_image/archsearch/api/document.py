"""YAML as Kubernetes reads it, with the line of every field. It knows nothing of what the fields mean."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import yaml

Position = tuple[str | int, ...]
"""Where a value is: the names and list positions that lead to it."""

_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Reads scalars as kubectl does: dates stay text, `1e3` is a number, and `y` and `n` are what YAML 1.1 says."""

    bool_values: ClassVar = {**yaml.SafeLoader.bool_values, "y": True, "n": False}


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^[yYnN]$"), list("yYnN"))


class InvalidYaml(ValueError):
    """The text is not one YAML document; `line` counts from 1 where it is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(message)


@dataclass(frozen=True)
class Document:
    """What the text holds: plain values, the line of each, and the fields that are written more than once."""

    value: Any
    lines: dict[Position, int] = field(default_factory=dict)
    repeated: tuple[tuple[Position, int], ...] = ()

    def line(self, position: Position) -> int | None:
        """The line of a value; where it is absent, of what should hold it."""
        for length in range(len(position), 0, -1):
            if line := self.lines.get(position[:length]):
                return line
        return None


def parse(text: str) -> Document:
    """Read the one document of a text. Raises InvalidYaml."""
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_node() if loader.check_node() else None
        if node is None:
            raise InvalidYaml("must hold a YAML document, but is empty")
        if loader.check_node():
            raise InvalidYaml("must hold one YAML document, but got more")
        reader = _Reader(loader)
        value = reader.read(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise InvalidYaml(f"must be YAML, but {error.problem}", mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InvalidYaml):
            raise
        raise InvalidYaml(f"must be YAML, but {str(error).splitlines()[0]}") from None
    finally:
        if loader is not None:
            loader.dispose()
    return Document(value, reader.lines, tuple(reader.repeated))


class _Reader:
    """Turns nodes into values, noting their lines on the way."""

    def __init__(self, loader: _Loader) -> None:
        self.loader = loader
        self.lines: dict[Position, int] = {}
        self.repeated: list[tuple[Position, int]] = []

    def read(self, node: yaml.Node, position: Position) -> Any:
        self.lines.setdefault(position, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*position, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, position)
        value = self.loader.construct_object(node, deep=True)
        # JSON has one kind of number: 4.0 is 4.
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def _mapping(self, node: yaml.MappingNode, position: Position) -> dict[str, Any]:
        written = {id(key) for key, _ in node.value}
        # What is merged in by `<<` comes first, and may be written again.
        self.loader.flatten_mapping(node)
        mapping: dict[str, Any] = {}
        own: set[str] = set()
        for key_node, child in node.value:
            key = self.loader.construct_object(key_node, deep=True)
            name = key if isinstance(key, str) else json.dumps(key, default=str)
            where = (*position, name)
            if id(key_node) in written:
                if name in own:
                    self.repeated.append((where, key_node.start_mark.line + 1))
                own.add(name)
            self.lines[where] = key_node.start_mark.line + 1
            mapping[name] = self.read(child, where)
        return mapping
