"""What this machine has: cores, accelerators, and whether it has run out of memory. Without torch."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

OOM_COUNTERS: Final = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def accelerators(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The CUDA devices that trials may use, as CUDA_VISIBLE_DEVICES names them; none where there is no driver."""
    if (chosen := environment.get(VISIBLE)) is not None:
        names = [name.strip() for name in chosen.split(",")]
        # CUDA takes the devices before the first that it does not know; -1 is how one asks for none.
        return tuple(names[: names.index("-1")] if "-1" in names else [name for name in names if name])
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return listed_devices(listed)


def listed_devices(listed: str) -> tuple[str, ...]:
    """The devices in what `nvidia-smi -L` prints; a GPU that is divided is not itself one."""
    found: list[str] = []
    for line in listed.splitlines():
        if (uuid := re.search(r"\(UUID: ([^)]+)\)", line)) is None:
            continue
        if uuid[1].startswith("MIG-") and found and found[-1].startswith("GPU-"):
            found.pop()
        found.append(uuid[1])
    return tuple(found)


def kills_for_memory(counters: Sequence[Path] = OOM_COUNTERS) -> int:
    """Processes that the kernel has killed because memory ran out, as far as can be seen."""
    total = 0
    for path in counters:
        with suppress(OSError, ValueError):
            total += sum(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith("oom_kill "))
    return total
