"""How the space is searched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from archsearch.api.base import DecimalString, Fraction, Model, ModuleName, OneOf, PositiveDecimal, Rule, distinct
from archsearch.api.differentiable import Differentiable
from archsearch.api.enas import Enas
from archsearch.api.evaluation import ScoreName

SettingName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", min_length=1, max_length=63)]
SettingValue = Annotated[str, StringConstraints(max_length=1024)]


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


class Grid(Model):
    """Every architecture of the space, in a fixed order; for spaces of at most 100,000."""


class Nsga2(Model):
    """NSGA-II (Deb et al. 2002): evolution of the whole front of more than one objective, with crossover."""

    population: Annotated[int, Field(ge=4, le=1_000)] = 30
    """Architectures that survive. The first ones are drawn at random."""
    crossover: Fraction = "0.9"
    """The chance that a child has two parents."""


class LocalSearch(Model):
    """Local search (White et al. 2021): evaluate neighbours of the best until one is better."""

    initial: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Random architectures at the start."""


class ScoredPool(Model):
    """Random architectures that are scored at initialisation before the search begins."""

    scores: Annotated[tuple[ScoreName, ...], Field(min_length=1, max_length=4)]
    """The scores; one to four, different ones."""
    pool: Annotated[int, Field(ge=8, le=1_024)] = 256
    """Architectures that are scored; all of a space that has no more."""

    rules, checks = distinct("scores")


class GaussianProcess(Model):
    """Bayesian optimisation: a Gaussian process over what architectures have in common says which promises most.

    It uses `evaluation.train.fidelities`, learns which architectures keep the constraints, and looks for the whole
    front where there is more than one objective."""

    initial: Annotated[int, Field(ge=2, le=10_000)] = 10
    """Random full trainings at the start; with fidelities half of their cost in shorter ones."""
    cost_aware: bool = True
    """Prefer what takes less time to train, where two promise the same."""
    zero_cost: ScoredPool | None = None
    """Compare architectures by scores at initialisation too; needs `evaluation.train` or `evaluation.sharedWeights`."""


class PolicyGradient(Model):
    """A controller learns to draw good architectures, as the search for NASNet did (Zoph et al. 2018). The first
    objective is its reward."""

    controller: Literal["Softmax", "LSTM"] = "Softmax"
    """A softmax for each choice on its own (Dong and Yang 2020), or an LSTM that knows the choices made before."""
    update: Literal["REINFORCE", "PPO"] = "REINFORCE"
    """REINFORCE learns from each result once; PPO goes over a batch four times (Schulman et al. 2017)."""
    learning_rate: PositiveDecimal | None = None
    """Where it is left out 0.1 for softmaxes and 0.003 for an LSTM, which suit some hundred trials. Published are 0.01
    (Dong and Yang 2020) and 0.00035 (Zoph et al. 2018), for 20,000 trials."""
    batch: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """Results of an update; 1 for REINFORCE and 10 for PPO where it is left out."""
    baseline_decay: Fraction = "0.9"
    """Of the moving mean of rewards that a reward is compared with (Dong and Yang 2020)."""
    entropy_weight: DecimalString = "0"
    """Of the entropy of every choice, which keeps the controller from being certain too early."""


class TreeParzen(Model):
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011). It learns which architectures keep the
    constraints, and looks for the whole front where there is more than one objective."""

    initial: Annotated[int, Field(ge=2, le=10_000)] = 10
    """Random architectures at the start."""


class CustomSearcher(Model):
    """A searcher of the user's own, a class in the trial image. It runs in Jobs of its own, never in the operator."""

    module: ModuleName
    """The class, `package.module:Name`. It is made with the space, the seed and the settings, and has a method
    `ask(evidence)` that returns the next proposal (`archsearch.searchers.Searcher`)."""
    settings: dict[SettingName, SettingValue] = Field(default={}, max_length=32)
    """What the class is made with."""
    proposals_per_job: Annotated[int, Field(ge=1, le=64)] = 8
    """Architectures that one Job proposes."""


class Algorithm(OneOf):
    """How the space is searched: by a searcher that proposes architectures to trials, or inside a supernet."""

    random: RandomSearch | None = None
    """The baseline of every search."""
    regularized_evolution: RegularizedEvolution | None = None
    """Trains one network after another, as the search for AmoebaNet did."""
    nsga2: Nsga2 | None = None
    """Evolves the front of several objectives."""
    grid: Grid | None = None
    """Tries all of a small space."""
    local_search: LocalSearch | None = None
    """Goes from the best to a better neighbour."""
    gaussian_process: GaussianProcess | None = None
    """Learns from all results which architecture to try next."""
    policy_gradient: PolicyGradient | None = None
    """Learns to draw good architectures."""
    tree_parzen: TreeParzen | None = None
    """Draws what is dense among the good ones."""
    custom: CustomSearcher | None = None
    """A searcher in the user's own image."""
    differentiable: Differentiable | None = None
    """Trains one supernet that holds all architectures, together with the weights that mix them."""
    enas: Enas | None = None
    """Trains one supernet, and by turns a controller that draws architectures from it."""

    @property
    def proposes(self) -> bool:
        """Whether a searcher proposes architectures to trials; otherwise each trial is one whole search."""
        return self.differentiable is None and self.enas is None
