"""A search without a cluster: the same plan and the same work, in subprocesses of one machine. No torch."""

from archsearch.local.errors import CannotStart
from archsearch.local.folder import Folder
from archsearch.local.progress import Lines, Picture, Progress, progress_for
from archsearch.local.runner import run_search

__all__ = ["CannotStart", "Folder", "Lines", "Picture", "Progress", "progress_for", "run_search"]
