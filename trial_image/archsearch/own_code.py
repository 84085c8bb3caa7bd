"""What a user's own trial image holds beside this package: it is found by the name that a spec gives it."""

from __future__ import annotations

import importlib
from typing import Any


class NoSuchCode(ValueError):
    """It cannot be imported; str() names the field, the module and why."""


def imported(module: str, field: str) -> Any:
    """The object that `package.module:Name` names; from what is installed in the image. Raises NoSuchCode.

    field: of the spec, for the error.
    """
    path, _, name = module.partition(":")
    try:
        return getattr(importlib.import_module(path), name)
    except AttributeError as error:
        if name in str(error):
            raise NoSuchCode(f"{field}: {path} has no {name}") from None
        raise NoSuchCode(f"{field}: {path} cannot be imported in the trial image (AttributeError: {error})") from error
    except Exception as error:  # the module is the user's: anything may be wrong with it
        why = f"{type(error).__name__}: {error}"
        raise NoSuchCode(f"{field}: {path} cannot be imported in the trial image ({why})") from error
