"""Supernets: mixing rules, bilevel training, and the derivation of an architecture."""

from archsearch.supernets.bilevel import Batch, Bilevel, Prepare, SupernetReport
from archsearch.supernets.derivation import Derivation, derive
from archsearch.supernets.mixing import Mixing, Moment, Regulariser, entropy, softmax

__all__ = [
    "Batch", "Bilevel", "Derivation", "Mixing", "Moment", "Prepare", "Regulariser", "SupernetReport", "derive",
    "entropy", "softmax",
]  # fmt: skip
