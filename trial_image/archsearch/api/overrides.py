r"""Changes single fields of a spec from the command line: `budget.maxTrials=4`, `objectives.0.metric=loss`."""

from __future__ import annotations

import re
from typing import Any

from archsearch.api.document import InvalidYaml, Position, parse


def apply(spec: dict[str, Any], override: str) -> tuple[Position, str]:
    """Change the spec in place. The position that was set, and the value as it was written.

    Raises ValueError if the override is malformed or leads through something that has no fields.
    """
    path, equals, raw = override.partition("=")
    names = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path.strip().removeprefix("spec."))]
    if not equals or not all(names):
        raise ValueError("must look like path.to.field=value")
    value = _value(raw)
    node: Any = spec
    position: Position = ()
    for name, following in zip(names, [*names[1:], None], strict=True):
        key = _key(node, name, position)
        position = (*position, key)
        if following is None:
            _set(node, key, value)
        else:
            node = _child(node, key, [] if following.isdecimal() else {})
    return position, raw


def _value(raw: str) -> Any:
    if not raw.strip():
        return ""
    try:
        return parse(raw).value
    except InvalidYaml as error:
        raise ValueError(f"value {error}") from None


def _key(node: Any, name: str, position: Position) -> str | int:
    """The name as a key of the node: a field of an object, or a position in a list, one past its end included."""
    where = ".".join(str(part) for part in position) or "spec"
    if isinstance(node, dict):
        return name
    if not isinstance(node, list):
        raise ValueError(f"{where} has no field {name}: it is {node!r}")
    if not name.isdecimal() or int(name) > len(node):
        raise ValueError(f"{where} is a list of {len(node)}: {name} must be a position from 0 to {len(node)}")
    return int(name)


def _set(node: Any, key: str | int, value: Any) -> None:
    if isinstance(key, int) and key == len(node):
        node.append(value)
    else:
        node[key] = value


def _child(node: Any, key: str | int, absent: Any) -> Any:
    present = (key < len(node) if isinstance(key, int) else key in node) and node[key] is not None
    if not present:
        _set(node, key, absent)
    return node[key]
