"""A task of the user's own: a function of the trial image gives its data, and the data say what is to be learnt.

The contract of `load` in `module: package.module:load`:

- It is called as `load(folder, settings, seed)` and returns a `TaskData`. folder: where the task's volume is mounted,
  or None where it has none. settings: the words of the spec. seed: of the split; the same for every trial.
- `weights`, `architecture`, `selection` and `test` share no example. It gives the same ones every time.
- `values` gives the metrics that the spec declares, from the counts that `tally` makes of a network's outputs, or a
  `Meter` of its own does. A class of `TaskData` with one class an example, which is `Labelled`, has all of that.
- It raises `DataError` for data that cannot be used; str() is what the user reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from archsearch.api.custom_task import CustomTask
from archsearch.own_code import NoSuchCode, imported
from archsearch.tasks.base import DataError, TaskData

FIELD: Final = "task.custom.module"
PARTS: Final = ("weights", "architecture", "selection", "test")


def load_custom(task: CustomTask, data: Path | None, seed: int) -> TaskData:
    """What the user's function gives. Raises DataError where it does not keep the contract."""
    try:
        load = imported(task.module, FIELD)
    except NoSuchCode as error:
        raise DataError(str(error)) from error
    if not callable(load):
        raise DataError(f"{FIELD}: {task.module} must be a function, but is a {type(load).__name__}")
    try:
        found = load(data, dict(task.settings), seed)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{FIELD}: {task.module} fails ({type(error).__name__}: {error})") from error
    if not isinstance(found, TaskData):
        raise DataError(f"{FIELD}: {task.module} must return a TaskData, but got a {type(found).__name__}")
    if empty := [part for part in PARTS if len(getattr(found, part)) == 0]:
        raise DataError(f"{FIELD}: {task.module} must give examples for every part, but has none for {empty[0]}")
    if found.metric != task.metrics[0]:
        raise DataError(
            f"task.custom.metrics must begin with {found.metric}, which {type(found).__name__} goes by, but got "
            f"{', '.join(task.metrics)}"
        )
    return found
