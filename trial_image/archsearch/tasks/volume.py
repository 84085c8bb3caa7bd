"""Where a data set is: the path that a spec names on a volume, which nothing may lead out of."""

from __future__ import annotations

from pathlib import Path

from archsearch.api.task import VolumeSource
from archsearch.tasks.base import DataError
from archsearch.tasks.folder import inside


def located(volume: VolumeSource, data: Path | None, expected: str) -> Path:
    """The file or folder that `volume.path` names below `data`, where the claim is mounted.

    expected: what it must be, for the message. Raises DataError where it is not there or cannot be read.
    """
    if data is None:
        raise DataError(
            f"dataset.volume: the claim {volume.claim_name} must be mounted, but the trial has no data folder"
        )
    if not data.is_dir():
        raise DataError(f"{data}: the claim {volume.claim_name} must be mounted here, but there is no folder")
    path = data / volume.path
    found = inside(data, path, "dataset.volume.path")
    try:
        if found.is_dir() or found.is_file():
            return path
        there = ", ".join(sorted(item.name for item in data.iterdir())[:10]) or "nothing"
    except PermissionError as error:
        raise unreadable(error) from None
    raise DataError(f"{path}: does not exist; dataset.volume.path must name {expected} (there is {there})")


def unreadable(error: PermissionError) -> DataError:
    """The same error for the user."""
    return DataError(f"{error.filename}: must be readable by the trial's user, but is not; change its mode")
