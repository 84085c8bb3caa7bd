"""Why a search is not started, in the user's words."""

from __future__ import annotations


class CannotStart(Exception):
    """No trial was started, and no record was changed. str() says what is wrong, the value, and what to do."""
