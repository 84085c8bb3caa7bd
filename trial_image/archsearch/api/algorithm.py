"""How the space is searched."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from archsearch.api.base import Model, OneOf, Rule
from archsearch.api.differentiable import Differentiable


class RandomSearch(Model):
    """Architectures drawn uniformly, none twice."""


class RegularizedEvolution(Model):
    """Ageing evolution (Real et al. 2019): mutate the best of a random sample, forget the oldest."""

    population: Annotated[int, Field(ge=2, le=10_000)] = 30
    """Architectures alive at once; the first ones are drawn at random. The paper has 100 for 20,000 trials."""
    sample: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Members of the population that compete to be the parent."""

    rules = (Rule(expression="self.sample <= self.population", message="sample must not be greater than population",
                  field_path=".sample"),)  # fmt: skip
    checks = (
        lambda self: None if self.sample <= self.population else
        f"sample must not be greater than population ({self.population}), but got {self.sample}",
    )  # fmt: skip


class Algorithm(OneOf):
    """How the space is searched: by a searcher that proposes architectures to trials, or inside a supernet."""

    random: RandomSearch | None = None
    """The baseline of every search."""
    regularized_evolution: RegularizedEvolution | None = None
    """Trains one network after another, as the search for AmoebaNet did."""
    differentiable: Differentiable | None = None
    """Trains one supernet that holds all architectures, together with the weights that mix them."""

    @property
    def proposes(self) -> bool:
        """Whether a searcher proposes architectures to trials; otherwise each trial is one whole search."""
        return self.differentiable is None
