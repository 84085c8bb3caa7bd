"""What an architecture is worth: training from scratch and evaluation. What it costs is in `hardware`."""

from archsearch.evaluation.measure import Stopped, evaluate, recalibrate
from archsearch.evaluation.resumable import JSON, EpochReport, EpochTraining, Resumable, ShouldStop, State
from archsearch.evaluation.seeds import derive, generator
from archsearch.evaluation.trainer import Diverged, Trainer, load_network

__all__ = [
    "JSON", "Diverged", "EpochReport", "EpochTraining", "Resumable", "ShouldStop", "State", "Stopped", "Trainer",
    "derive", "evaluate", "generator", "load_network", "recalibrate",
]  # fmt: skip
