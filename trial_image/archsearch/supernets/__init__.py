"""Supernets: mixing rules, bilevel training, and the derivation of an architecture."""

from archsearch.supernets.bilevel import Bilevel, SupernetReport
from archsearch.supernets.derivation import Derivation, most_probable, sample, threshold, top_edges
from archsearch.supernets.mixing import Mixing, Moment, Relaxation, entropy, softmax
from archsearch.supernets.parts import Parts, parts_of
from archsearch.supernets.recipe import Recipe
from archsearch.supernets.regularisers import Expected, Penalty, Regulariser

__all__ = [
    "Bilevel", "Derivation", "Expected", "Mixing", "Moment", "Parts", "Penalty", "Recipe",
    "Regulariser", "Relaxation", "SupernetReport", "entropy", "most_probable", "parts_of", "sample", "softmax",
    "threshold", "top_edges",
]  # fmt: skip
