"""Which exceptions are the user's, and which crashes have a name."""

from __future__ import annotations

import sys

from archsearch.work.errors import UserError


def user_errors() -> tuple[type[Exception], ...]:
    """The types that mean that the spec or the data are wrong, among what has been imported."""
    names = (
        ("archsearch.tasks.base", "DataError"),
        ("archsearch.spaces.architecture", "InvalidArchitecture"),
        ("archsearch.evaluation.trainer", "Diverged"),
        ("archsearch.networks.custom", "WrongNetwork"),
    )
    return (UserError, *(getattr(sys.modules[module], name) for module, name in names if module in sys.modules))


def describe(error: Exception) -> str | None:
    """One line for a crash that needs no traceback; None for all others."""
    text = str(error).splitlines()[0] if str(error) else ""
    name = type(error).__name__
    if name == "OutOfMemoryError":
        return f"out of GPU memory: {text}; lower the batch size, or ask for a larger device"
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text or "can't allocate memory" in text:
        return f"out of memory: {text or name}; lower the batch size, or raise trial.resources.limits.memory"
    return None
