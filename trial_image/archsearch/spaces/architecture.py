"""An architecture: a value for each active choice of a space. The one form in status, caches and exports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from archsearch.api.base import ChoiceValue


class InvalidArchitecture(ValueError):
    """Not an architecture of the space; str() names the choice and the value."""


class Architecture:
    """`{choice: value}` for the active choices, in the order in which the space declares them.

    Immutable, hashable, and equal to any other with the same values. Spaces make architectures; `Space.architecture`
    is how one is read from outside, because only the space can tell whether it is one.
    """

    __slots__ = ("_id", "_values")

    def __init__(self, values: Mapping[str, ChoiceValue]) -> None:
        self._values = MappingProxyType(dict(values))
        self._id = ""

    @property
    def values(self) -> Mapping[str, ChoiceValue]:
        """The values by the name of the choice."""
        return self._values

    @property
    def id(self) -> str:
        """12 hexadecimal digits that follow from the values alone."""
        # Searchers look architectures up by it many thousand times.
        self._id = self._id or hashlib.sha1(self.json().encode(), usedforsecurity=False).hexdigest()[:12]
        return self._id

    def json(self) -> str:
        """Canonical JSON: sorted names, no spaces."""
        return json.dumps(dict(self._values), sort_keys=True, separators=(",", ":"))

    def __getitem__(self, name: str) -> ChoiceValue:
        return self._values[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and dict(self._values) == dict(other._values)

    def __hash__(self) -> int:
        return hash(self.json())

    def __repr__(self) -> str:
        return f"Architecture({self.json()})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A mappingproxy cannot be pickled, and searchers run in other processes.
        return Architecture, (dict(self._values),)
