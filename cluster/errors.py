"""The one error a user of the cluster sees: what was wrong, the value, what to do. It never shows a traceback."""


class ClusterError(Exception):
    """Something the cluster needs did not work; the message says what to do about it."""
