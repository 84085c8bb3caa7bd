"""`python -m archsearch.work`: do the work that ARCHSEARCH_WORK describes."""

import signal
import sys
from contextlib import suppress

from archsearch.work.interruption import Interrupted, Interruption

if __name__ == "__main__":
    interruption = Interruption()
    code = 128 + signal.SIGTERM  # EXIT_INTERRUPTED, where the imports are broken off
    with suppress(Interrupted):
        # First of all: process 1 of a container ignores SIGTERM until it says otherwise, and the imports take seconds.
        interruption.install()
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a file's name may be no text
        from archsearch.work.protocol import main

        code = main(interruption)
    # The message is written and its checkpoint is gone: being told to stop now must not make it an interruption.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)
