"""What must agree between the fields of a spec, each rule twice: in CEL for the API server, in Python for files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from archsearch.api.base import Rule, cel_list
from archsearch.api.metrics import LEARNED, STATIC
from archsearch.api.task import TASKS

if TYPE_CHECKING:
    from archsearch.api.search import ArchitectureSearchSpec

DEFAULT_PROFILE: Final = "default"
"""The profile that stands for the trials' own hardware where no profile is defined."""
ELASTIC: Final = ("elasticChain", "elasticTransformer")
"""The spaces whose architectures are part of a largest one, and have a smallest."""
PROPOSES: Final = "(!has(self.algorithm) || (!has(self.algorithm.differentiable) && !has(self.algorithm.enas)))"
"""`Algorithm.proposes` in CEL."""


def _unknown_profiles(self: ArchitectureSearchSpec) -> str | None:
    known = {profile.name for profile in self.profiles} or {DEFAULT_PROFILE}
    named = {
        "objectives": [objective.profile for objective in self.objectives or ()],
        "constraints": [constraint.profile for constraint in self.constraints],
    }
    unknown = {field: [name for name in names if name and name not in known] for field, names in named.items()}
    problems = [
        f"{field} must name profiles that are defined in profiles, but got {', '.join(names)}"
        for field, names in unknown.items()
        if names
    ]
    return "; ".join(problems) or None


def _duplicate_profiles(self: ArchitectureSearchSpec) -> str | None:
    names = [profile.name for profile in self.profiles]
    return None if len(set(names)) == len(names) else f"profiles must have different names, but got {', '.join(names)}"


def _duplicate_objectives(self: ArchitectureSearchSpec) -> str | None:
    keys = [(objective.metric, objective.profile) for objective in self.objectives or ()]
    return None if len(set(keys)) == len(keys) else "objectives must be different from each other"


def _export_needs_artifacts(self: ArchitectureSearchSpec) -> str | None:
    if self.export is None or self.export.format == "None" or self.artifacts is not None:
        return None
    return f"artifacts must be set for export.format {self.export.format}"


def _export_needs_retrain(self: ArchitectureSearchSpec) -> str | None:
    if self.export is None or self.export.format == "None" or self.retrain.top_k > 0:
        return None
    return "retrain.topK must be at least 1 for an export: there are no weights to export otherwise"


def _stop_needs_trials(self: ArchitectureSearchSpec) -> str | None:
    whole = self.algorithm is not None and not self.algorithm.proposes
    untrained = self.evaluation is not None and self.evaluation.train is None
    if self.early_stopping is None or not (whole or untrained):
        return None
    return "earlyStopping must be set only where trials train one network each"


def _evaluation_needs_proposals(self: ArchitectureSearchSpec) -> str | None:
    if self.evaluation is None or self.algorithm is None or self.algorithm.proposes:
        return None
    return f"evaluation must not be set for {self.algorithm.member[0]}: each of its trials is one whole search"


def _mixture_needs_space(self: ArchitectureSearchSpec) -> str | None:
    if self.space is None or self.space.mixable:
        return None
    if self.algorithm is None or self.algorithm.differentiable is None:
        return None
    return (
        f"algorithm must not be differentiable for {self.space.member[0]}: its supernet runs one architecture at a time"
    )


def _tables_need_artifacts(self: ArchitectureSearchSpec) -> str | None:
    measured = [p.name for p in self.profiles if p.search_latency and p.search_latency.measured_table]
    if not measured or self.artifacts is not None:
        return None
    return f"artifacts must be set to keep the latency table of {', '.join(measured)}"


def _shares_weights(self: ArchitectureSearchSpec) -> str | None:
    shared = self.evaluation.shared_weights if self.evaluation else None
    if shared is None:
        return None
    if self.artifacts is None:
        return "artifacts must be set for evaluation.sharedWeights: there is nowhere to keep the weights otherwise"
    if shared.sampling == "Sandwich" and (self.space is None or self.space.member[0] not in ELASTIC):
        return f"evaluation.sharedWeights.sampling must be Sandwich only for the spaces {' and '.join(ELASTIC)}"
    return None


def _loss_has_its_table(self: ArchitectureSearchSpec) -> str | None:
    settings = self.algorithm.differentiable if self.algorithm else None
    if settings is None or settings.hardware_loss is None or settings.hardware_loss.profile is None:
        return None
    name = settings.hardware_loss.profile
    tables = [p.name for p in self.profiles if p.search_latency and p.search_latency.trial is None]
    if name in tables:
        return None
    return (
        "algorithm.differentiable.hardwareLoss.profile must be one of profiles with a table in searchLatency, "
        f"but got {name}"
    )


def _task_has_objectives(self: ArchitectureSearchSpec) -> str | None:
    name, known = self.task.member[0], self.task.metrics
    problems = []
    for field in ("objectives", "constraints"):
        wanted = [item.metric for item in getattr(self, field) or ()]
        if unknown := [metric for metric in wanted if metric in LEARNED and metric not in known]:
            problems.append(f"{field} must be among {', '.join(known)} for {name}, but got {', '.join(unknown)}")
    return "; ".join(problems) or None


def _task_fits_space(self: ArchitectureSearchSpec) -> str | None:
    (name, settings), space = self.task.member, self.space.member[0] if self.space else None
    if name == "custom":
        return None if space else "space must be set for a custom task: nothing says which one suits it"
    if space is None or space in settings.spaces:
        return None
    return f"space must be one of {', '.join(settings.spaces)} for {name}, but got {space}"


def _table_has_objectives(self: ArchitectureSearchSpec) -> str | None:
    if self.evaluation is None or self.evaluation.tabular is None or self.objectives is None:
        return None
    known = {column.metric for column in self.evaluation.tabular.columns}
    missing = [item.metric for item in self.objectives if item.metric in LEARNED | STATIC and item.metric not in known]
    return f"objectives must be among evaluation.tabular.columns, but got {', '.join(missing)}" if missing else None


def _own_searcher_trains_fully(spec: ArchitectureSearchSpec) -> str | None:
    train = spec.evaluation.train if spec.evaluation is not None else None
    if spec.algorithm is None or spec.algorithm.custom is None or train is None:
        return None
    if train.halving is None and not train.fidelities:
        return None
    return (
        "evaluation.train must have neither halving nor fidelities for a custom searcher, whose trials are all trained "
        "fully"
    )


def _scores_need_networks(self: ArchitectureSearchSpec) -> str | None:
    process = self.algorithm.gaussian_process if self.algorithm else None
    if process is None or process.zero_cost is None or self.evaluation is None:
        return None
    if self.evaluation.train is not None or self.evaluation.shared_weights is not None:
        return None
    return (
        "algorithm.gaussianProcess.zeroCost must be set only with evaluation.train or evaluation.sharedWeights, "
        f"but got {self.evaluation.member[0]}"
    )


def _stop_needs_curve(self: ArchitectureSearchSpec) -> str | None:
    if self.early_stopping is None or self.objectives is None or self.objectives[0].metric in LEARNED:
        return None
    return (
        f"objectives must begin with {' or '.join(sorted(LEARNED))} for earlyStopping: nothing else has a value after "
        f"each epoch, but got {self.objectives[0].metric}"
    )


AGREEMENTS: Final = (
    *(
        Rule(
            expression=f"!has(self.task.{name}) || !has(self.{field}) || self.{field}.all(o, "
            f"!(o.metric in {cel_list(sorted(LEARNED))}) || o.metric in {cel_list(settings.metrics)})",
            message=f"{field} must be among {', '.join(settings.metrics)} for {name}",
            field_path=f".{field}",
        )
        for name, settings in TASKS.items()
        for field in ("objectives", "constraints")
    ),
    Rule(
        expression="!has(self.task.custom) || has(self.space)",
        message="space must be set for a custom task: nothing says which one suits it",
        field_path=".space",
    ),
    *(
        Rule(
            expression=f"!has(self.task.custom) || !has(self.{field}) || self.{field}.all(o, "
            f"!(o.metric in {cel_list(sorted(LEARNED))}) || o.metric == 'loss' || o.metric in "
            "self.task.custom.metrics)",
            message=f"{field} must be among task.custom.metrics, or loss",
            field_path=f".{field}",
        )
        for field in ("objectives", "constraints")
    ),
    *(
        Rule(
            expression=f"!has(self.task.{name}) || !has(self.space) || "
            f"{' || '.join(f'has(self.space.{space})' for space in settings.spaces)}",
            message=f"space must be one of {', '.join(settings.spaces)} for {name}",
            field_path=".space",
        )
        for name, settings in TASKS.items()
    ),
    *(
        Rule(
            expression=f"!has(self.{field}) || self.{field}.all(item, !has(item.profile) || "
            "self.profiles.exists(p, p.name == item.profile) || "
            f"(size(self.profiles) == 0 && item.profile == '{DEFAULT_PROFILE}'))",
            message=f"{field} must name profiles that are defined in profiles",
            field_path=f".{field}",
        )
        for field in ("objectives", "constraints")
    ),
    Rule(
        expression="!has(self.objectives) || self.objectives.all(o, self.objectives.exists_one(p, "
        "p.metric == o.metric && has(p.profile) == has(o.profile) && "
        "(!has(p.profile) || p.profile == o.profile)))",
        message="objectives must be different from each other",
        field_path=".objectives",
    ),
    Rule(
        expression="!has(self.export) || self.export.format == 'None' || has(self.artifacts)",
        message="artifacts must be set for an export: there is nowhere to write the model otherwise",
        field_path=".artifacts",
    ),
    Rule(
        expression="has(self.artifacts) || self.profiles.all(p, !has(p.searchLatency) || "
        "!has(p.searchLatency.measuredTable))",
        message="artifacts must be set: there is nowhere to keep a measured latency table otherwise",
        field_path=".artifacts",
    ),
    Rule(
        expression="!has(self.evaluation) || !has(self.evaluation.sharedWeights) || has(self.artifacts)",
        message="artifacts must be set: there is nowhere to keep the shared weights otherwise",
        field_path=".artifacts",
    ),
    Rule(
        expression="!has(self.evaluation) || !has(self.evaluation.sharedWeights) || "
        "self.evaluation.sharedWeights.sampling != 'Sandwich' || (has(self.space) && "
        f"({' || '.join(f'has(self.space.{name})' for name in ELASTIC)}))",
        message=f"evaluation.sharedWeights.sampling must be Sandwich only for the spaces {' and '.join(ELASTIC)}",
        field_path=".evaluation.sharedWeights.sampling",
    ),
    Rule(
        expression="!has(self.algorithm) || !has(self.algorithm.differentiable) || "
        "!has(self.algorithm.differentiable.hardwareLoss) || "
        "!has(self.algorithm.differentiable.hardwareLoss.profile) || "
        "self.profiles.exists(p, p.name == self.algorithm.differentiable.hardwareLoss.profile && "
        "has(p.searchLatency) && !has(p.searchLatency.trial))",
        message="hardwareLoss.profile must be one of profiles with a table in searchLatency",
        field_path=".algorithm.differentiable.hardwareLoss.profile",
    ),
    Rule(
        expression="!has(self.export) || self.export.format == 'None' || self.retrain.topK > 0",
        message="retrain.topK must be at least 1 for an export: there are no weights to export otherwise",
        field_path=".retrain.topK",
    ),
    Rule(
        expression=f"!has(self.earlyStopping) || ({PROPOSES} && (!has(self.evaluation) || has(self.evaluation.train)))",
        message="earlyStopping must be set only where trials train one network each",
        field_path=".earlyStopping",
    ),
    Rule(
        expression="!has(self.space) || !(has(self.space.elasticChain) || has(self.space.hierarchicalMotifs) || "
        "has(self.space.elasticTransformer) || has(self.space.featurePyramid) || "
        "(has(self.space.custom) && !self.space.custom.mixable)) || "
        "!has(self.algorithm) || !has(self.algorithm.differentiable)",
        message="algorithm must not be differentiable for a space whose supernet runs one architecture at a time",
        field_path=".algorithm",
    ),
    Rule(
        expression=f"!has(self.evaluation) || {PROPOSES}",
        message="evaluation must not be set where each trial is one whole search",
        field_path=".evaluation",
    ),
    Rule(
        expression="!has(self.algorithm) || !has(self.algorithm.custom) || !has(self.evaluation) || "
        "!has(self.evaluation.train) || "
        "(!has(self.evaluation.train.halving) && size(self.evaluation.train.fidelities) == 0)",
        message="evaluation.train must have neither halving nor fidelities for a custom searcher, whose trials are "
        "all trained fully",
        field_path=".evaluation.train",
    ),
    Rule(
        expression="!has(self.algorithm) || !has(self.algorithm.gaussianProcess) || "
        "!has(self.algorithm.gaussianProcess.zeroCost) || !has(self.evaluation) || has(self.evaluation.train) || "
        "has(self.evaluation.sharedWeights)",
        message="algorithm.gaussianProcess.zeroCost must be set only with evaluation.train or evaluation.sharedWeights",
        field_path=".algorithm.gaussianProcess.zeroCost",
    ),
    Rule(
        expression="!has(self.evaluation) || !has(self.evaluation.tabular) || !has(self.objectives) || "
        f"self.objectives.all(o, !(o.metric in {cel_list(sorted(LEARNED | STATIC))}) || "
        "self.evaluation.tabular.columns.exists(c, c.metric == o.metric))",
        message="objectives must be among evaluation.tabular.columns",
        field_path=".objectives",
    ),
    Rule(
        expression="!has(self.earlyStopping) || !has(self.objectives) || size(self.objectives) == 0 || "
        f"self.objectives[0].metric in {cel_list(sorted(LEARNED))}",
        message=f"objectives must begin with {' or '.join(sorted(LEARNED))} for earlyStopping: nothing else has a "
        "value after each epoch",
        field_path=".objectives",
    ),
)

AGREEMENT_CHECKS: Final = (
    _unknown_profiles,
    _duplicate_profiles,
    _duplicate_objectives,
    _export_needs_artifacts,
    _export_needs_retrain,
    _stop_needs_trials,
    _mixture_needs_space,
    _evaluation_needs_proposals,
    _own_searcher_trains_fully,
    _scores_need_networks,
    _task_has_objectives,
    _task_fits_space,
    _table_has_objectives,
    _tables_need_artifacts,
    _shares_weights,
    _loss_has_its_table,
    _stop_needs_curve,
)
