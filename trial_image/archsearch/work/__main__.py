"""`python -m archsearch.work`: do the work that ARCHSEARCH_WORK describes."""

import signal
import sys

from archsearch.work.interruption import Interruption

if __name__ == "__main__":
    # First of all: process 1 of a container ignores SIGTERM until it says otherwise, and the imports take seconds.
    interruption = Interruption()
    interruption.install()
    from archsearch.work.protocol import main

    code = main(interruption)
    # The message is written and its checkpoint is gone: being told to stop now must not make it an interruption.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(code)
