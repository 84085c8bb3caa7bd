"""Folders of this machine that stand for persistent volume claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from archsearch.local.errors import CannotStart
from archsearch.planning import Search
from archsearch.planning.order import data_claim, table_claim


def parse_volumes(options: Iterable[str]) -> dict[str, Path]:
    """From `CLAIM=DIR` to absolute folders. Raises CannotStart."""
    found: dict[str, Path] = {}
    for option in options:
        claim, equals, folder = option.partition("=")
        if not (claim and equals and folder):
            raise CannotStart(f"--volume must look like CLAIM=DIR, but got {option}")
        if claim in found:
            raise CannotStart(f"--volume must be given once for each claim, but got {claim} twice")
        found[claim] = Path(folder).expanduser().absolute()
    return found


def bind_volumes(
    search: Search, given: Mapping[str, Path], before: Mapping[str, Path], artifacts: Path
) -> dict[str, Path]:
    """The folder of each claim that the spec names. Raises CannotStart.

    given: what was said now; before: what was said when the search was started; artifacts: stands for the artifacts'
    claim where nothing else was said.
    """
    data, written = data_claim(search), search.spec.artifacts
    table = table_claim(search)
    claims = [name for name in (data, table, written.claim_name if written else None) if name is not None]
    if unknown := [claim for claim in given if claim not in claims]:
        named = f"it names {', '.join(claims)}" if claims else "it names none"
        raise CannotStart(f"--volume must name a claim of the spec ({named}), but got {', '.join(unknown)}")
    known = {**before, **given}
    found: dict[str, Path] = {}
    if data is not None:
        found[data] = _folder(data, "the data are", known)
        assert search.spec.task.claim is not None  # noqa: S101 - its name is known
        inside = search.spec.task.claim.path
        if not (known[data] / inside).exists():
            raise CannotStart(
                f"{search.spec.task.claim_field}.path: there is no {inside} in {known[data]}, which "
                f"stands for the claim {data}"
            )
    if table is not None:
        found[table] = _folder(table, "the table is", known)
    if written is not None and written.claim_name not in found:
        found[written.claim_name] = known.get(written.claim_name, artifacts)
    if written is not None:
        folder = found[written.claim_name]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotStart(f"--volume {written.claim_name}={folder} cannot be made: {error.strerror}") from None
    return found


def _folder(claim: str, what: str, known: Mapping[str, Path]) -> Path:
    """The folder that stands for a claim that is read. Raises CannotStart."""
    if claim not in known:
        raise CannotStart(f"{what} on the claim {claim}: say which folder stands for it, with --volume {claim}=DIR")
    if not known[claim].is_dir():
        raise CannotStart(f"--volume {claim}={known[claim]} must be a folder, but there is none")
    return known[claim]
