"""Runs other programs to their end and turns what fails into an error that shows the program's own words."""

import errno
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.errors import ClusterError

NO_SPACE = os.strerror(errno.ENOSPC).lower()


class CommandError(ClusterError):
    """A program ended with an exit code other than 0; `output` is what it printed."""

    def __init__(self, argv: Sequence[str], code: int, output: str) -> None:
        self.output = output
        tail = "\n".join(f"    {line}" for line in output.strip().splitlines()[-20:])
        super().__init__(f"`{' '.join(argv)}` ended with code {code}:\n{tail}")

    @property
    def is_out_of_space(self) -> bool:
        """Whether the disk was full."""
        return NO_SPACE in self.output.lower()


def run(
    *argv: str | Path,
    text_input: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> str:
    """Run a program, return what it printed to standard output. Raises CommandError if it fails and `check`."""
    words = [str(word) for word in argv]
    if shutil.which(words[0]) is None:
        raise ClusterError(f"the program {words[0]} is not installed; `python -m cluster up` installs what it needs")
    done = subprocess.run(
        words,
        input=text_input,
        stdin=subprocess.DEVNULL if text_input is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, **(env or {})},
        cwd=cwd,
        check=False,
    )
    if check and done.returncode != 0:
        raise CommandError(words, done.returncode, done.stdout + done.stderr)
    return done.stdout
