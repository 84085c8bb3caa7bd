"""How a piece of work can end without a result.

WorkError
    UserError       the spec or the data are wrong: exit 3, and no retry helps; so is a training that Diverged
    Infeasible      the architecture is beyond a limit: exit 42
    Failed          the work was done and its result is not acceptable: exit 1, with one line and no traceback
Interrupted         told to stop: exit 143, in `interruption`
anything else       a crash: exit 1, with a traceback and one last line that says what it was
"""


class WorkError(Exception):
    """An end without a result; str() is what the user is to know."""


class UserError(WorkError):
    """The spec or the data cannot be worked with. str() names the field, the value and what to do."""


class Infeasible(WorkError):
    """The architecture is beyond a limit. metrics: what was counted."""

    def __init__(self, message: str, metrics: dict[str, float]) -> None:
        super().__init__(message)
        self.metrics = metrics


class Failed(WorkError):
    """The work was done, and its result is not one that may be used."""
