"""What a person sees while something runs: one line a step with its time, and a sign of life when a step is long."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 20.0

_quiet = threading.local()


def say(line: str) -> None:
    """Print one line to standard error: standard output is kept for what a verb answers."""
    if not getattr(_quiet, "on", False):
        print(line, file=sys.stderr, flush=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Print nothing from this thread inside the block: what test fixtures want."""
    before = getattr(_quiet, "on", False)
    _quiet.on = True
    try:
        yield
    finally:
        _quiet.on = before


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print `what` with the seconds it took, and a heartbeat while it takes long."""
    started = time.monotonic()
    silent = getattr(_quiet, "on", False)
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            if not silent:
                say(f"    … {what}: {time.monotonic() - started:.0f} s so far")

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    except BaseException:
        say(f"  ✗ {what} ({time.monotonic() - started:.1f} s)")
        raise
    else:
        say(f"  ✓ {what} ({time.monotonic() - started:.1f} s)")
    finally:
        done.set()
        heart.join()
