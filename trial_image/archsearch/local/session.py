"""Opens the folder of a search: a new one, or one that goes on, if it is the same search."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import archsearch
from archsearch.api.search import MUTABLE, ArchitectureSearchSpec
from archsearch.local.errors import CannotStart
from archsearch.local.folder import Folder
from archsearch.local.records import (
    Document,
    Records,
    Tell,
    read_document,
    read_records,
    set_aside,
    with_status,
    write_document,
)
from archsearch.local.repair import repair
from archsearch.local.volumes import bind_volumes
from archsearch.planning import Search, reasons, resolve
from archsearch.searchers import SEARCHERS, searcher_of

NAMESPACE: Final = "local"
IMAGE: Final = "local"
"""Stands for the trial image: the work is done by the package that is installed."""


@dataclass(frozen=True)
class Session:
    """A search that can go on: what it is, what has happened, and the folders that stand for its claims."""

    search: Search
    records: Records
    volumes: Mapping[str, Path]


def search_of(
    name: str, spec: ArchitectureSearchSpec, uid: str, generation: int = 1, settled: Document | None = None
) -> Search:
    """A search without a cluster. settled: its spec as it was resolved when it was started."""
    return Search(
        NAMESPACE,
        name,
        uid,
        generation,
        resolve(spec, IMAGE, settled),
        operator_version=archsearch.__version__,
        defaults=reasons(spec, settled),
    )


def open_session(
    folder: Folder, name: str, spec: ArchitectureSearchSpec, given: Mapping[str, Path], tell: Tell
) -> Session:
    """Read the folder, or make it. The caller holds its lock.

    Raises CannotStart if the folder is another search's, if a field that cannot change has changed, or if a volume or
    what the searcher needs is missing; then nothing is written.
    """
    before = _before(folder, tell)
    if before is None:
        search = search_of(name, spec, _uid_of_records(folder, name) or uuid.uuid4().hex)
        volumes: dict[str, Path] = {}
    else:
        search, volumes = _changed(folder, before, name, spec)
    _check_searcher(search)
    bound = bind_volumes(search, given, volumes, folder.artifacts.absolute())
    document = {
        "name": search.name,
        "uid": search.uid,
        "generation": search.generation,
        "spec": search.spec.wire(),
        "volumes": {claim: str(path) for claim, path in bound.items()},
    }
    if document != before:
        write_document(folder.search, document)
    search = with_status(search, tell, folder.result)
    records = read_records(folder, search, tell)
    repair(records, search, tell)
    return Session(search, records, bound)


def _check_searcher(search: Search) -> None:
    """Make it once: a package that it needs is missed now, and not after the preflight."""
    assert search.spec.algorithm is not None  # noqa: S101 - the spec is resolved
    if search.spec.algorithm.member[0] not in SEARCHERS:
        return
    try:
        searcher_of(search.spec)
    except ImportError as error:
        raise CannotStart(str(error)) from None


def _before(folder: Folder, tell: Tell) -> Document | None:
    """What the folder is of; None for a new one, and for one that no longer says."""
    if not folder.search.exists():
        return None
    try:
        document = read_document(folder.search)
        ArchitectureSearchSpec.model_validate(document["spec"])
        if not re.fullmatch(r"[0-9a-f]{5,32}", document["uid"]):
            raise ValueError(f"uid must be hexadecimal, but got {document['uid']}")
        _, _ = str(document["name"]), int(document["generation"])
        _ = {claim: Path(path) for claim, path in document["volumes"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        set_aside(folder.search, f"{type(error).__name__}: {error}", tell)
        return None
    return document


def _uid_of_records(folder: Folder, name: str) -> str | None:
    """What the names of the trials still say of the uid."""
    for path in folder.trials.glob("*.json"):
        if found := re.fullmatch(rf"{re.escape(name)}-([0-9a-f]{{5}})(-[a-z]+)?-[0-9]+", path.stem):
            return found[1]
    return None


def _changed(
    folder: Folder, before: Document, name: str, spec: ArchitectureSearchSpec
) -> tuple[Search, dict[str, Path]]:
    """The search with the spec as it is now, if it is the same search."""
    if before["name"] != name:
        raise CannotStart(f"{folder.root} holds the search {before['name']}, not {name}: use another --out")
    old = search_of(name, ArchitectureSearchSpec.model_validate(before["spec"]), before["uid"], before["generation"])
    was, now = old.spec.wire(), resolve(spec, IMAGE, before["spec"]).wire()
    changed = [field for field in sorted(was.keys() | now.keys()) if was.get(field) != now.get(field)]
    if fixed := [field for field in changed if field not in MUTABLE]:
        said = "; ".join(difference(was.get(field), now.get(field), field) for field in fixed)
        raise CannotStart(
            f"{folder.root} holds a search with another spec: {said}. Only {', '.join(MUTABLE)} can be changed: "
            "use another --out for another search"
        )
    search = search_of(name, spec, old.uid, old.generation + bool(changed), before["spec"])
    volumes: dict[str, Path] = {}
    with suppress(AttributeError, TypeError):
        volumes = {claim: Path(path) for claim, path in before["volumes"].items()}
    return search, volumes


def difference(was: Any, now: Any, path: str) -> str:
    """The first field below `path` that differs, in words."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name in sorted(was.keys() | now.keys()):
            if was.get(name) != now.get(name):
                return difference(was.get(name), now.get(name), f"{path}.{name}")
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for position, (old, new) in enumerate(zip(was, now, strict=True)):
            if old != new:
                return difference(old, new, f"{path}.{position}")
    return f"{path} was {_shown(was)} and is now {_shown(now)}"


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
