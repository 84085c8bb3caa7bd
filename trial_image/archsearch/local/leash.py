"""`python leash.py RUNNER COMMAND...`: becomes the command, and is killed when the process RUNNER dies.

Run by its path, so that it imports nothing of the package: it costs a few milliseconds of each trial. The bond is tied
here and not between fork and exec of the runner, where Python code of a program with threads may hang.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie the bond, and become the command."""
    runner, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        # KILL and not TERM: a new runner may be there at once, and must not find two processes at one trial.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != runner:
        sys.exit("the runner is gone")
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is a list of arguments of ours
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    main()
