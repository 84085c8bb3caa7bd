"""Progress for people: a picture that is redrawn on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from archsearch.api.search import ArchitectureSearchStatus
from archsearch.api.trial import SEARCH_KINDS, Trial
from archsearch.local.folder import Folder
from archsearch.local.log import printable
from archsearch.planning import Search
from archsearch.planning.objectives import key_of
from archsearch.planning.report import DOING

HEARTBEAT: Final = 30.0
"""Seconds after which a line is printed even if nothing has ended."""
SHOWN: Final = 12
"""Running trials that a terminal shows."""
PARTS: Final = ("weights", "architecture", "selection", "test")
STATES: Final = {"Succeeded": "green", "Failed": "red", "Infeasible": "yellow", "Stopped": "yellow"}


@dataclass(frozen=True)
class Running:
    """A trial that runs now. seconds: of all attempts; line: the last of its log."""

    trial: Trial
    seconds: float
    line: str


class Progress(AbstractContextManager["Progress"], Protocol):
    """Is told what happens."""

    def say(self, text: str) -> None:
        """Something to know about the run itself."""

    def began(self, search: Search, folder: Folder, devices: Sequence[str], room: int) -> None:
        """The search starts, or goes on."""

    def ended(self, trial: Trial, search: Search) -> None:
        """A trial's result was recorded."""

    def show(self, search: Search, running: Sequence[Running]) -> None:
        """How things stand; called often."""


class Lines:
    """Prints a line for each event."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._start = time.monotonic()
        self._last = self._start
        self._stage: str | None = None

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put away."""

    def say(self, text: str) -> None:
        """Print it."""
        self._last = time.monotonic()
        print(f"{clock(self._last - self._start)} {text}", file=self._stream, flush=True)

    def began(self, search: Search, folder: Folder, devices: Sequence[str], room: int) -> None:
        """Say where and how."""
        self.say(beginning(search, folder, devices, room))

    def ended(self, trial: Trial, search: Search) -> None:
        """A line with the result."""
        state, text = ending(trial, search)
        self.say(f"{label(trial)} {state}{': ' if text else ''}{text}")

    def show(self, search: Search, running: Sequence[Running]) -> None:
        """A line for each stage, and one now and then."""
        status = search.status
        if status.stage != self._stage and status.stage is not None:
            self._stage = status.stage
            self.say(f"{status.stage}: {DOING[status.stage]}")
        elif running and time.monotonic() - self._last >= HEARTBEAT:
            doing = "; ".join(f"{label(item.trial)}: {item.line}" for item in running[:SHOWN])
            self.say(f"{counts(status)}{best(search)}; {doing}")


class Picture:
    """Redraws a few lines at the bottom of a terminal; what has ended scrolls away above them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # Redrawn by the loop: a thread of its own would run beside every fork.
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._start = time.monotonic()

    def __enter__(self) -> Picture:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Print it above the picture."""
        self._console.print(Text(text))

    def began(self, search: Search, folder: Folder, devices: Sequence[str], room: int) -> None:
        """Say where and how."""
        self.say(beginning(search, folder, devices, room))

    def ended(self, trial: Trial, search: Search) -> None:
        """A line with the result."""
        state, text = ending(trial, search)
        self._console.print(
            Text.assemble((f"{label(trial):<13}", "bold"), (f"{state:<11}", STATES[trial.status.state]), text)
        )

    def show(self, search: Search, running: Sequence[Running]) -> None:
        """Redraw."""
        status, trials = search.status, search.status.trials
        stage = status.stage or "Preflight"
        done = trials.succeeded + trials.failed + trials.infeasible + trials.stopped
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text(search.name, "bold"), Text(f"{stage}: {DOING[stage]}"), Text(clock(time.monotonic() - self._start))
        )
        bar = Table.grid(padding=(0, 2))
        bar.add_row(ProgressBar(total=max(1, trials.total), completed=done, width=30), counts(status) + best(search))
        rows = [
            Text.assemble((f"{label(item.trial):<13}", "bold"), f"{clock(item.seconds):<7}", (item.line, "dim"),
                          no_wrap=True, overflow="ellipsis")
            for item in running[:SHOWN]
        ]  # fmt: skip
        if len(running) > SHOWN:
            rows.append(Text(f"and {len(running) - SHOWN} more"))
        self._live.update(Group(Text(), head, bar, *rows), refresh=True)


def progress_for(stream: TextIO) -> Progress:
    """What fits the stream: a picture for a terminal that can draw one, lines otherwise."""
    console = Console(file=stream, highlight=False)
    return Picture(console) if console.is_terminal and not console.is_dumb_terminal else Lines(stream)


def clock(seconds: float) -> str:
    """Hours only where there are some."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def label(trial: Trial) -> str:
    """A trial in its own folder: the search's name would only repeat itself."""
    return f"{trial.spec.work} {trial.spec.index}"


def beginning(search: Search, folder: Folder, devices: Sequence[str], room: int) -> str:
    """What is run, and with what."""
    budget = search.spec.budget
    device = "on the CPU"
    if devices:
        device = f"{len(devices)} accelerator" + ("s" if len(devices) > 1 else "")
        if room < budget.parallel_trials:
            device += f" for parallelTrials {budget.parallel_trials}: the others wait"
    verb = "goes on" if search.status.start_time else "starts"
    return f"{search.name} {verb} in {folder.root}: {budget.max_trials} trials, {room} at once, {device}"


def ending(trial: Trial, search: Search) -> tuple[str, str]:
    """How a trial ended, and with what: the objectives of a result, the reason where there is none."""
    status = trial.status
    state = status.state.lower()
    if status.state != "Succeeded" or status.result is None:
        return state, printable(f"{status.reason}: {status.message}" if status.message else status.reason)
    result = status.result
    metrics = result.metrics
    if trial.spec.work == "Profile" and result.profile is not None:
        shown = result.profile
        return state, f"{shown.profile} ({printable(shown.device)}): p50 {shown.latency_ms.p50:.3f} ms"
    wanted = [key_of(objective) for objective in search.spec.objectives or ()]
    if trial.spec.work == "Retrain":
        wanted = [name for name in metrics if name.startswith("test")]
    elif trial.spec.work == "Preflight":
        examples = ", ".join(
            f"{metrics[f'{part}Examples']:,.0f} {part}" for part in PARTS if f"{part}Examples" in metrics
        )
        return state, f"{metrics.get('classes', 0):.0f} classes; examples: {examples}"
    elif trial.spec.work not in SEARCH_KINDS:
        wanted = list(metrics)
    return state, ", ".join(f"{name} {metrics[name]:.4g}" for name in wanted if name in metrics)


def counts(status: ArchitectureSearchStatus) -> str:
    """Trials by state; what there is none of is left out."""
    trials = status.trials
    states = {"running": trials.running, "failed": trials.failed, "infeasible": trials.infeasible,
              "stopped": trials.stopped}  # fmt: skip
    return ", ".join([f"{trials.done} trials", *(f"{number} {name}" for name, number in states.items() if number)])


def best(search: Search) -> str:
    """The best result so far, or nothing."""
    found = search.status.best
    if found is None or not found.objective:
        return ""
    first = (search.spec.objectives or ())[0]
    return f", best {key_of(first)} {found.objective}"
