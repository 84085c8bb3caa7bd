"""What a trial's log says: its last line, for people, and the curve that early stopping needs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from archsearch.api.metrics import usable
from archsearch.api.trial import MAX_EPOCHS, CurvePoint

TAIL: Final = 4096
EPOCH: Final = re.compile(rb"^epoch (\d{1,9})/\d+: .*?selection (.+), [0-9.]+ s$", re.MULTILINE)
VALUE: Final = re.compile(rb"([A-Za-z]+) ([-+.0-9einfa]+)")


def tail(path: Path) -> str:
    """The end of a log; nothing where there is none."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - TAIL))
            return stream.read(TAIL).decode(errors="replace")
    except OSError:
        return ""


def last_line(path: Path) -> str:
    """The last line that is not empty."""
    return printable(next((line.strip() for line in reversed(tail(path).splitlines()) if line.strip()), ""))


def printable(text: str) -> str:
    """Text of a trial's, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


@dataclass
class Curve:
    """The values after each epoch, read from a log as it grows.

    The log has every epoch, of earlier attempts too; the metrics endpoint has only the latest, which whoever looks once
    a second misses. A later line of the same epoch takes the place of the earlier one.
    """

    path: Path
    metric: str
    _read: int = 0
    _rest: bytes = b""
    _values: dict[int, float] = field(default_factory=dict)

    def points(self) -> tuple[CurvePoint, ...]:
        """The curve so far, in order of epochs."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._read)
                new = stream.read()
        except OSError:
            new = b""
        self._read += len(new)
        whole, newline, rest = (self._rest + new).rpartition(b"\n")
        self._rest = rest
        for epoch, measured in EPOCH.findall(whole + newline):
            values = {name.decode(): number for name, number in VALUE.findall(measured)}
            try:
                value = float(values.get(self.metric, b"nan"))
            except ValueError:
                continue
            if usable(value) and int(epoch) <= MAX_EPOCHS:
                self._values[int(epoch)] = value
        # Values are told in order: after a restart without a checkpoint, epochs beyond the last are old, and equal.
        return tuple(CurvePoint(epoch=epoch, value=self._values[epoch]) for epoch in sorted(self._values))
