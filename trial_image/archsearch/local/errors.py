"""Why a search is not started, in the user's words."""

from __future__ import annotations


class CannotStart(Exception):
    """Nothing was started and nothing was changed. str() says what is wrong, the value, and what to do."""
