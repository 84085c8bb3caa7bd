"""When the disk is full: says so, with what takes the space and what can go."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.commands import CommandError, run
from cluster.errors import ClusterError
from cluster.paths import cache_root, state_root

_GIB = 2**30


def usage() -> list[str]:
    """A line for each place where images and binaries take space, the largest first."""
    places = {
        Path("/var/lib/containers/storage"): "buildah's images: `buildah rmi --prune`",
        cache_root() / "images": "download caches of image builds: can be removed",
        cache_root() / "bin": "binaries of the cluster: folders of old versions can be removed",
        Path.home() / ".cache" / "go-build": "Go's build cache: `go clean -cache`",
        Path.home() / "go" / "pkg" / "mod": "Go's modules: `go clean -modcache`",
    }
    for folder in sorted(state_root().glob("*/")):
        places[folder / "containerd"] = f"images pulled by cluster {folder.name}: `python -m cluster down --wipe`"
        places[folder / "registry"] = f"registry of cluster {folder.name}: `python -m cluster down --wipe`"
    sizes = {place: _size(place) for place in places if place.is_dir()}
    rows = sorted(sizes.items(), key=lambda row: -row[1])
    return [f"{size / _GIB:6.1f} GiB  {place}  ({places[place]})" for place, size in rows if size > _GIB / 10]


@contextmanager
def explained() -> Iterator[None]:
    """Turn a failure for want of space into an error that says what takes the space."""
    try:
        yield
    except CommandError as error:
        if not error.is_out_of_space:
            raise
        free = shutil.disk_usage(state_root()).free / _GIB
        lines = "\n".join(f"    {line}" for line in usage())
        raise ClusterError(f"the disk is full ({free:.1f} GiB free). What takes the space:\n{lines}") from error


def _size(folder: Path) -> int:
    out = run("du", "--summarize", "--block-size=1", "--one-file-system", folder, check=False)
    return int(out.split()[0]) if out else 0
