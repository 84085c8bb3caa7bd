"""Waits until something is true, and when it is not in time says which component's log to read."""

import time
from collections.abc import Callable, Mapping

from cluster import processes
from cluster.errors import ClusterError
from cluster.paths import State


def until(
    true: Callable[[], bool],
    what: str,
    *,
    state: State,
    components: Mapping[str, int] | None = None,
    timeout: float = 60.0,
    interval: float = 0.05,
) -> None:
    """Wait until `true()`; OSError from it counts as not yet.

    components: name to pid of what must stay alive meanwhile; the first is the one to blame when time runs out.
    Raises ClusterError with the last lines of the log of the component that ended or that is late.
    """
    alive = {name: processes.identity(pid) for name, pid in (components or {}).items()}
    deadline = time.monotonic() + timeout
    reason = ""
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except OSError as error:
            reason = f" ({error})"
        for name, identity in alive.items():
            if not identity or not processes.is_alive(identity):
                raise ClusterError(f"{name} ended while waiting for {what}; {processes.log_tail(state, name)}")
        time.sleep(interval)
    blamed = next(iter(components or {}), None)
    log = f"; {processes.log_tail(state, blamed)}" if blamed else ""
    raise ClusterError(f"no sign of {what} after {timeout:.0f} s{reason}{log}")
