"""`python -m archsearch.work`: do the work that ARCHSEARCH_WORK describes."""

import sys

from archsearch.work.interruption import Interruption

if __name__ == "__main__":
    # First of all: process 1 of a container ignores SIGTERM until it says otherwise, and the imports take seconds.
    interruption = Interruption()
    interruption.install()
    from archsearch.work.protocol import main

    sys.exit(main(interruption))
