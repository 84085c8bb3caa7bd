"""Starts, finds and stops the processes of a cluster.

There are no pid files. Each process is born with environment variables that name its cluster, its component and its
owner, so the process table itself says what runs: nothing can be stale after a crash, a reboot or a reused pid, and a
process is found even if whoever started it was killed before it could write anything down. Children (containerd's
shims) inherit the mark.
"""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError
from cluster.paths import State

_CLUSTER = "ARCHSEARCH_CLUSTER_FOLDER"
_COMPONENT = "ARCHSEARCH_CLUSTER_COMPONENT"
_OWNER = "ARCHSEARCH_CLUSTER_OWNER"

LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class Process:
    """A running process that carries the mark of a cluster."""

    pid: int
    folder: Path
    component: str
    owner: str
    program: str

    @property
    def is_main(self) -> bool:
        """True for the component itself, False for what it started."""
        return self.program == self.component


def identity(pid: int) -> str:
    """`pid:start time`, which names a process for ever: pids are reused, start times are not. Empty if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return ""
    return f"{pid}:{fields[19]}"


def is_alive(owner: str) -> bool:
    """Whether the process with this identity still runs."""
    pid = owner.partition(":")[0]
    return pid.isdigit() and identity(int(pid)) == owner


def find(folder: Path | None = None) -> Iterator[Process]:
    """All living processes of the cluster whose state lies in `folder`, or of every cluster."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            raw = Path(entry.path, "environ").read_bytes()
            if _CLUSTER.encode() not in raw:
                continue
            words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        pairs = (item.partition("=") for item in os.fsdecode(raw).split("\0"))
        env = {key: value for key, _, value in pairs}
        pid = int(entry.name)
        if not env.get(_CLUSTER) or pid == os.getpid() or not identity(pid):
            continue
        process = Process(
            pid, Path(env[_CLUSTER]), env.get(_COMPONENT, ""), env.get(_OWNER, ""), Path(os.fsdecode(words[0])).name
        )
        if folder is None or process.folder == folder:
            yield process


def running(state: State) -> dict[str, int]:
    """The pid of each component of a cluster that runs."""
    return {process.component: process.pid for process in find(state.folder) if process.is_main}


def start(
    state: State,
    component: str,
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    owner: str = "",
) -> int:
    """Start a component in the background and return its pid; what it prints goes to its file in the log folder.

    With an owner (see `identity`) the component dies with the owner's process, and `find` can tell an orphan.
    """
    words = [str(word) for word in argv]
    # The kernel binds a death signal to the thread that forks, so it is asked for only where that thread is sure to
    # live as long as the process. The owner's mark covers the rest. setpriv and not preexec_fn: that one may deadlock
    # in a process that has threads.
    if owner and threading.current_thread() is threading.main_thread():
        words = ["setpriv", "--pdeathsig", "KILL", "--", *words]
    mark = {_CLUSTER: str(state.folder), _COMPONENT: component, _OWNER: owner}
    # Not subprocess.Popen: these processes outlive the object, which would warn about it when it is collected.
    return os.posix_spawnp(
        words[0],
        words,
        {**os.environ, **(env or {}), **mark},
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (
                os.POSIX_SPAWN_OPEN,
                1,
                str(state.logs / f"{component}.log"),
                os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
                0o600,
            ),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )


def stop(pids: Iterable[int], grace_seconds: float = 3.0) -> None:
    """Ask processes to end, and kill those that still run after `grace_seconds`; with 0 they are killed at once."""
    named = {identity(pid) for pid in pids} - {""}
    left = named
    for wish, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)):
        if patience == 0:
            continue
        for name in left:
            _signal(int(name.partition(":")[0]), wish)
        deadline = time.monotonic() + patience
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            left = {name for name in left if is_alive(name)}
        if not left:
            _reap(named)
            return
    raise ClusterError(f"these processes do not end, not even when killed: {', '.join(sorted(left))}")


def log_tail(state: State, component: str) -> str:
    """The last lines of a component's log, indented, for an error message."""
    path = state.logs / f"{component}.log"
    try:
        lines = path.read_text(errors="replace").strip().splitlines()[-LOG_TAIL_LINES:]
    except OSError:
        lines = []
    return f"last lines of {path}:\n" + "\n".join(f"    {line}" for line in lines or ["(nothing)"])


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _reap(names: Iterable[str]) -> None:
    """Collect those that are children of this process, so that no zombies stay."""
    for name in names:
        with suppress(ChildProcessError):
            os.waitpid(int(name.partition(":")[0]), os.WNOHANG)
