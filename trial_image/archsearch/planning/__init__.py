"""Everything that decides about a search: pure functions of what is, without I/O and without a clock."""

from archsearch.planning.defaults import reasons, resolve
from archsearch.planning.history import History
from archsearch.planning.model import Ask, Execution, NewTrial, OpenTrial, Outcome, Plan, Search
from archsearch.planning.plan import plan, trial_of

__all__ = [
    "Ask",
    "Execution",
    "History",
    "NewTrial",
    "OpenTrial",
    "Outcome",
    "Plan",
    "Search",
    "plan",
    "reasons",
    "resolve",
    "trial_of",
]
