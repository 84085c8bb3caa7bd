"""Where a data set is: the path that a spec names on a volume, which nothing may lead out of."""

from __future__ import annotations

from pathlib import Path

from archsearch.api.training import VolumeSource
from archsearch.tasks.base import DataError
from archsearch.tasks.folder import inside


def located(volume: VolumeSource, data: Path | None, expected: str, *, folder: bool = False) -> tuple[Path, Path]:
    """The file or folder that `volume.path` names, and the volume's own folder, where the claim is mounted.

    expected: what it must be, for the message. folder: it must not be a file. Raises DataError where it is not there.
    """
    if data is None:
        raise DataError(
            f"dataset.volume: the claim {volume.claim_name} must be mounted, but the trial has no data folder"
        )
    if not data.is_dir():
        raise DataError(f"{data}: the claim {volume.claim_name} must be mounted here, but there is no folder")
    path = data / volume.path
    found = inside(data, path, "dataset.volume.path")
    if found.is_dir() or (found.is_file() and not folder):
        return path, data
    there = ", ".join(sorted(item.name for item in data.iterdir())[:10]) or "nothing"
    what = "does not exist" if not found.exists() else "is no folder" if folder else "is neither file nor folder"
    raise DataError(f"{path}: {what}; dataset.volume.path must name {expected} (there is {there})")
