"""The control groups of a cluster's pods: one root for each cluster, so that what is in it is known to be ours."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from cluster.paths import State

_MOUNT = Path("/sys/fs/cgroup")


def root(state: State) -> str:
    """The kubelet's --cgroup-root."""
    return f"/archsearch-cluster-{state.name}"


def create(state: State) -> None:
    """Make the root group in each hierarchy; the kubelet insists that it exists."""
    for hierarchy in _hierarchies():
        group = hierarchy / root(state).lstrip("/")
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            # In version 1 a new cpuset is empty, and nothing can run in it.
            file = group / name
            if (hierarchy / name).exists() and file.exists() and not file.read_text().strip():
                file.write_text((hierarchy / name).read_text())


def pids(state: State) -> set[int]:
    """The processes of all pods."""
    found: set[int] = set()
    for group in _groups(state):
        try:
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
        except OSError:
            continue
    return found - {0}


def remove(state: State) -> list[Path]:
    """Remove the groups, the innermost first; returns those that could not be removed."""
    for _ in range(50):
        # A group stays busy for a moment after its last process has ended.
        left = [group for group in _groups(state) if not _removed(group)]
        if not left:
            return []
        time.sleep(0.02)
    return left


def _groups(state: State) -> Iterator[Path]:
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / root(state).lstrip("/"), topdown=False):
            yield Path(folder)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _hierarchies() -> list[Path]:
    """Every mounted cgroup hierarchy: one in version 2, one a controller in version 1."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    groups = [(Path(fields[1]), fields[2]) for fields in mounts]
    return [path for path, kind in groups if kind in ("cgroup", "cgroup2") and path.is_relative_to(_MOUNT)]
