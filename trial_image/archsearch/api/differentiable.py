"""Differentiable search: mixing weights of a supernet's operations are learnt by gradient."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field
from pydantic.alias_generators import to_camel

from archsearch.api.base import DecimalString, Epochs, Fraction, Model, PositiveDecimal, Rule, at_most, cel_list
from archsearch.api.hardware_loss import HardwareLoss
from archsearch.api.methods import (
    BASE,
    METHODS,
    ONLY_WITH,
    SMOOTH,
    Derivation,
    EigenvalueStop,
    Method,
    Mixing,
    Order,
    Perturbation,
    Schedule,
    Stage,
)


def _effective(name: str) -> str:
    """The CEL expression of a setting, whoever says it; '' where it means nothing."""
    text = f"'{BASE[name]}'"
    for method, values in METHODS.items():
        if name in values:
            text = f"self.method == '{method}' ? '{values[name]}' : {text}"
    text = f"(has(self.{to_camel(name)}) ? self.{to_camel(name)} : {text})"
    if name in ONLY_WITH:
        owner, wanted = ONLY_WITH[name]
        text = f"({_effective(owner)} in {cel_list(wanted)} ? {text} : '')"
    return text


def _only_with(name: str) -> tuple[Rule, Callable[[Any], str | None]]:
    """That a setting is said only where it means something: in CEL and in Python."""
    field, (owner, values) = to_camel(name), ONLY_WITH[name]
    message = f"{field} must be set only where {to_camel(owner)} is {' or '.join(values)}"
    rule = Rule(
        expression=f"!has(self.{field}) || {_effective(owner)} in {cel_list(values)}",
        message=message,
        field_path=f".{field}",
    )

    def check(self: Differentiable) -> str | None:
        if getattr(self, name) is None or self.setting(owner) in values:
            return None
        return f"{message}, but got {self.setting(owner)}"

    return rule, check


def _falling(self: Differentiable, end: str, start: str) -> str | None:
    first, last = self.setting(start), self.setting(end)
    if first is None or last is None or Decimal(last) <= Decimal(first):
        return None
    return f"{to_camel(end)} must not be greater than {to_camel(start)} ({first}), but got {last}"


STAGES = "(has(self.stages) ? size(self.stages) : self.method == 'PDARTS' ? 3 : 0)"
STOPS = (
    f"(has(self.eigenvalueStop) || (self.method == 'RobustDARTS' && "
    f"{_effective('mixing')} in {cel_list(ONLY_WITH['eigenvalue_stop'][1])}))"
)


class Differentiable(Model):
    """Differentiable search (Liu et al. 2019): architecture weights and network weights of a supernet are trained in
    turn, on separate halves of the training data. Each trial is one whole search from its own seed.

    A method fills in what is not set, with the constants of its paper; whatever is set replaces that part of it. The
    default is first order with beta decay: of the methods that do not end in skip connections only, which plain DARTS
    does on many spaces, it is the cheapest and has nothing to tune."""

    method: Method = "BetaDARTS"
    """What holds where nothing else is set: the settings of this method's paper."""
    epochs: Epochs = 50
    """Passes over the half of the training data that trains the network weights."""
    order: Order | None = None
    """`Second` looks one step of the network weights ahead, at about 2.4 times the cost of `First`."""
    mixing: Mixing | None = None
    """How architecture weights become mixing weights. `HardGumbelSoftmax`, `BinaryGates` and `OnePath` compute one or
    two operations of a choice in a pass, all others compute all. `OnePath` learns by REINFORCE."""
    temperature: PositiveDecimal | None = None
    """Temperature of a Gumbel softmax at the start."""
    temperature_end: PositiveDecimal | None = None
    """Temperature of a Gumbel softmax in the last epoch."""
    temperature_schedule: Schedule | None = None
    """How the temperature falls from epoch to epoch."""
    batch_size: Annotated[int, Field(ge=2, le=8192)] | None = None
    """Images a step; 64 in DARTS."""
    learning_rate: PositiveDecimal | None = None
    """Learning rate of the network weights at the start (SGD, cosine); 0.025 in DARTS."""
    learning_rate_min: DecimalString | None = None
    """Learning rate of the network weights at the end; 0.001 in DARTS."""
    momentum: Fraction | None = None
    """Momentum of the network weights, below 1; 0.9 in DARTS."""
    weight_decay: DecimalString | None = None
    """Weight decay of the network weights; 0.0003 in DARTS."""
    gradient_clip: PositiveDecimal | None = None
    """Largest norm of the network weights' gradient; 5 in DARTS."""
    architecture_learning_rate: PositiveDecimal | None = None
    """Learning rate of the architecture weights (Adam); 0.0003 in DARTS."""
    architecture_momentum: Fraction | None = None
    """First beta of Adam on the architecture weights, below 1; 0.5 in DARTS. The second is 0.999."""
    architecture_weight_decay: DecimalString | None = None
    """Weight decay of the architecture weights; 0.001 in DARTS."""
    warmup_percent: Annotated[int, Field(ge=0, le=90)] | None = None
    """Share of the epochs, or of each stage's, at whose start only the network weights are trained."""
    architecture_every: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Steps of the network weights for each step of the architecture weights."""
    partial_channels: Annotated[int, Field(ge=1, le=32)] | None = None
    """Mix one in so many of an edge's channels and let the others pass (PC-DARTS); 1: mix all."""
    edge_normalisation: bool | None = None
    """Learn a weight for each input of a node as well (PC-DARTS), where a space lets its nodes choose inputs."""
    auxiliary_skip: DecimalString | None = None
    """Weight at the start of a skip connection beside every mixture, which fades (DARTS-); 0: none."""
    stages: Annotated[tuple[Stage, ...], Field(max_length=4)] | None = None
    """Supernets that are trained one after the other, deeper and with fewer operations (P-DARTS); empty: one."""
    perturbation: Perturbation | None = None
    """Train the network weights at mixing weights that are perturbed (SDARTS): at random, or to their worst."""
    perturbation_radius: PositiveDecimal | None = None
    """Largest perturbation of a mixing weight at the end; a tenth of it at the start."""
    beta_decay: DecimalString | None = None
    """Weight at the end of a loss that keeps architecture weights small; it rises from 0 (beta-DARTS)."""
    zero_one_loss: DecimalString | None = None
    """Weight of a loss that drives the mixing weights to 0 or 1 (FairDARTS)."""
    dirichlet_divergence: DecimalString | None = None
    """Weight of the divergence from the uniform Dirichlet distribution (DrNAS)."""
    eigenvalue_stop: EigenvalueStop | None = None
    """End the search before it collapses (RobustDARTS)."""
    derivation: Derivation | None = None
    """How the architecture is read off. `TopEdges`: the strongest operations on the strongest edges. `Threshold`: the
    same, and `none` where no operation is strong. `MostProbable`: over choices that open each other. `Sample`: the best
    of some that are drawn. `Perturbation`: one choice after the other, what the supernet needs most (DARTS-PT)."""
    max_skips: Annotated[int, Field(ge=0, le=64)] | None = None
    """Skip connections that a cell may have at most."""
    threshold: Fraction | None = None
    """Mixing weight from which on an operation is strong."""
    samples: Annotated[int, Field(ge=1, le=64)] | None = None
    """Architectures that are drawn."""
    finetune_epochs: Annotated[int, Field(ge=1, le=100)] | None = None
    """Epochs of training after each decision."""
    hardware_loss: HardwareLoss | None = None
    """Learn to be cheap as well: the expected cost of the network is a part of the architecture's loss."""

    rules = (
        Rule(
            expression=at_most(_effective("learning_rate_min"), _effective("learning_rate")),
            message="learningRateMin must not be greater than learningRate",
            field_path=".learningRateMin",
        ),
        Rule(
            expression=at_most(_effective("temperature_end"), _effective("temperature")),
            message="temperatureEnd must not be greater than temperature",
            field_path=".temperatureEnd",
        ),
        Rule(
            expression=f"{_effective('order')} == 'First' || {_effective('mixing')} in {cel_list(SMOOTH)}",
            message=f"order must be First unless mixing is {' or '.join(SMOOTH)}",
            field_path=".order",
        ),
        Rule(
            expression=f"{STAGES} <= self.epochs",
            message="stages must not be more than epochs",
            field_path=".stages",
        ),
        Rule(
            expression="!has(self.stages) || self.stages.map(s, -s.keepPercent).isSorted()",
            message="stages must keep fewer and fewer operations",
            field_path=".stages",
        ),
        Rule(
            expression=f"{STAGES} == 0 || {_effective('derivation')} != 'Perturbation'",
            message="stages must not be set with derivation Perturbation",
            field_path=".stages",
        ),
        Rule(
            expression=f"!{STOPS} || ({STAGES} == 0 && {_effective('derivation')} != 'Perturbation')",
            message="eigenvalueStop must not be set with stages or derivation Perturbation",
            field_path=".eigenvalueStop",
        ),
        *(_only_with(name)[0] for name in ONLY_WITH),
    )
    checks = (
        lambda self: _falling(self, "learning_rate_min", "learning_rate"),
        lambda self: _falling(self, "temperature_end", "temperature"),
        lambda self: None if self.setting("order") == "First" or self.setting("mixing") in SMOOTH else
        f"order must be First for mixing {self.setting('mixing')}, but got {self.setting('order')}",
        lambda self: None if len(self.setting("stages")) <= self.epochs else
        f"stages must not be more than epochs ({self.epochs}), but got {len(self.setting('stages'))}",
        lambda self: None if (kept := [-stage.keep_percent for stage in self.stages or ()]) == sorted(kept) else
        f"stages must keep fewer and fewer operations, but got {', '.join(str(-percent) for percent in kept)} percent",
        lambda self: None if not self.setting("stages") or self.setting("derivation") != "Perturbation" else
        "stages must not be set with derivation Perturbation",
        lambda self: None if self.setting("eigenvalue_stop") is None or
        (not self.setting("stages") and self.setting("derivation") != "Perturbation") else
        "eigenvalueStop must not be set with stages or derivation Perturbation",
        *(_only_with(name)[1] for name in ONLY_WITH),
    )  # fmt: skip

    def setting(self, name: str) -> Any:
        """What holds for a field: what is set, or what the method fills in; None where it means nothing."""
        if (said := getattr(self, name)) is not None:
            return said
        if name in ONLY_WITH:
            owner, values = ONLY_WITH[name]
            if self.setting(owner) not in values:
                return None
        return METHODS[self.method].get(name, BASE[name])

    def filled(self) -> Differentiable:
        """The same search with everything said that holds."""
        return self.model_copy(update={name: self.setting(name) for name in BASE})
