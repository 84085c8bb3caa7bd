"""What a spec means where it is silent. The answer, and why, is shown in the status, so that nobody has to guess.

Space, algorithm and evaluation are chosen by these rules, the first that fits:

1. Where latency, throughput or memory is an objective or a constraint, the space is `mbconvChain`: its layers differ in
   cost far more than cells do. Otherwise it is `dartsCells`.
2. More than one objective, or a space whose supernet cannot mix operations: `gaussianProcess`, which looks for the
   whole front.
3. A largest latency: `differentiable` with the expected latency in its loss, which knows what each layer costs; it
   offers networks within the limit wherever it finds any.
4. A budget of a few GPU hours, or of a few trials: `differentiable`, which is one supernet a trial and finds a good
   architecture in the time of a few trainings.
5. Otherwise `gaussianProcess`, with short trainings before full ones.

Where the algorithm is left out and there is a place for artifacts, a profile whose latency is an objective or has a
limit gets a measured table: what is too slow is then known before it is trained. Without such a place rule 3 is not
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from archsearch.api.algorithm import Algorithm, GaussianProcess
from archsearch.api.base import quantity
from archsearch.api.differentiable import Differentiable
from archsearch.api.evaluation import Evaluation, TrainEvaluation
from archsearch.api.hardware_loss import HardwareLoss
from archsearch.api.metrics import DEFAULT_GOALS, LEARNED, MEASURED
from archsearch.api.placement import MeasuredTable, SearchLatency
from archsearch.api.search import (
    DEFAULT_PROFILE,
    ArchitectureSearchSpec,
    Constraint,
    Export,
    Objective,
    Placement,
    Profile,
)
from archsearch.api.space import DartsCells, MbconvChain, Space
from archsearch.api.status import DefaultChoice

FEW_TRIALS: Final = 8
"""Trials that are too few to learn from: each may as well be a whole search."""
FEW_GPU_HOURS: Final = 8.0
"""GPU hours that are spent better on one supernet than on separate trainings."""
EPOCHS: Final = 20
SHORT: Final = 5
"""Epochs of the trainings that come before full ones."""


def resolve(
    spec: ArchitectureSearchSpec, image: str, settled: Mapping[str, Any] | None = None
) -> ArchitectureSearchSpec:
    """The spec with every default that depends on something else filled in; `image` is the operator's trial image.

    settled: the spec as it was resolved before, from the status. What was chosen then holds, although the rules look
    at the budget, which may have been changed since: a larger budget must not change the algorithm of a search that
    runs.
    """
    spec = _chosen(spec, settled)
    objectives = spec.objectives or (spec.task.objective,)
    trial = spec.trial if spec.trial.image else spec.trial.model_copy(update={"image": image})
    algorithm = spec.algorithm
    if algorithm is not None and algorithm.differentiable is not None:
        algorithm = Algorithm(differentiable=algorithm.differentiable.filled())
    return spec.model_copy(
        update={
            "algorithm": algorithm,
            "objectives": tuple(
                objective.model_copy(update={"goal": objective.goal or DEFAULT_GOALS[objective.metric]})
                for objective in objectives
            ),
            "profiles": spec.profiles or (_trials_own_profile(trial),),
            "export": spec.export or Export(format="ONNX" if spec.artifacts and spec.retrain.top_k else "None"),
            "trial": trial,
        }
    )


def reasons(spec: ArchitectureSearchSpec, settled: Mapping[str, Any] | None = None) -> tuple[DefaultChoice, ...]:
    """What was chosen for a spec that leaves space or algorithm out, and why."""
    whole = _chosen(spec, settled)
    found = []
    if spec.space is None and whole.space is not None:
        found.append(DefaultChoice(field="space", value=whole.space.member[0], reason=_why_space(spec)))
    if spec.algorithm is None and whole.algorithm is not None:
        value = whole.algorithm.member[0]
        now = _algorithm(_tabulated(spec))
        kept = value != now[0].member[0]
        reason = "chosen when the search started, and kept although its budget was changed" if kept else now[1]
        found.append(DefaultChoice(field="algorithm", value=value, reason=reason))
    return tuple(found)


def _chosen(spec: ArchitectureSearchSpec, settled: Mapping[str, Any] | None) -> ArchitectureSearchSpec:
    """The spec with space, algorithm and evaluation: its own, those that were settled, or those of the rules."""
    before = _read(settled)
    own = before if before is not None else spec
    spec = _tabulated(spec) if before is None else spec.model_copy(update={"profiles": before.profiles})
    space = spec.space or own.space or _space(spec)
    algorithm = spec.algorithm or own.algorithm or _algorithm(spec)[0]
    evaluation = spec.evaluation
    if evaluation is None and algorithm.proposes:
        evaluation = own.evaluation or Evaluation(train=_training(spec, algorithm))
    return spec.model_copy(update={"space": space, "algorithm": algorithm, "evaluation": evaluation})


def _space(spec: ArchitectureSearchSpec) -> Space:
    """The space of the rules."""
    name, settings = spec.task.member
    if name != "imageClassification":
        return Space.model_validate({settings.spaces[0]: {}})
    return Space(mbconv_chain=MbconvChain()) if _hardware(spec) else Space(darts_cells=DartsCells())


def _read(settled: Mapping[str, Any] | None) -> ArchitectureSearchSpec | None:
    if not settled:
        return None
    try:
        return ArchitectureSearchSpec.model_validate(dict(settled))
    except ValidationError:
        return None  # somebody has edited the status: the rules say the same again, unless the budget was changed


def _training(spec: ArchitectureSearchSpec, algorithm: Algorithm) -> TrainEvaluation:
    """Full trainings, and short ones before them for a searcher that learns how far to trust them."""
    if spec.algorithm is None and algorithm.gaussian_process is not None:
        return TrainEvaluation(epochs=EPOCHS, fidelities=(SHORT,))
    return TrainEvaluation(epochs=EPOCHS)


def _algorithm(spec: ArchitectureSearchSpec) -> tuple[Algorithm, str]:
    """The algorithm of the rules, and why."""
    budget = spec.budget
    process = Algorithm(gaussian_process=GaussianProcess())
    if spec.evaluation is not None:
        return process, "evaluation says what a trial does with an architecture that is proposed"
    if spec.early_stopping is not None:
        return process, "earlyStopping compares trials that train one network each"
    if spec.objectives is not None and len(spec.objectives) > 1:
        return process, f"there are {len(spec.objectives)} objectives: it looks for the whole front"
    if not (space := spec.space or _space(spec)).mixable:
        return process, f"the supernet of {space.member[0]} runs one architecture at a time"
    if (limit := _latency_limit(spec)) is not None:
        loss = HardwareLoss(metric="latencyMs", profile=limit.profile, target=limit.max)
        aware = Algorithm(differentiable=Differentiable(method="FBNet", hardware_loss=loss))
        return aware, f"latencyMs must be at most {limit.max}: the expected latency of the network is in its loss"
    whole = Algorithm(differentiable=Differentiable())
    if budget.max_trials <= FEW_TRIALS:
        return whole, f"budget.maxTrials is {budget.max_trials}, too few to learn from: each trial is a whole search"
    if budget.gpu_hours is not None and float(budget.gpu_hours) <= FEW_GPU_HOURS:
        return whole, f"budget.gpuHours is {budget.gpu_hours}: a supernet costs as much as a few separate trainings"
    return process, f"budget.maxTrials is {budget.max_trials}: enough to learn from, with short trainings first"


def _latency_limit(spec: ArchitectureSearchSpec) -> Constraint | None:
    """The largest latency, where there is one that a table can tell while searching."""
    tables = {profile.name for profile in spec.profiles if profile.search_latency and not profile.search_latency.trial}
    if spec.objectives is not None and spec.objectives[0].metric not in LEARNED:
        return None
    limits = (item for item in spec.constraints if item.metric == "latencyMs" and item.max is not None)
    return next((limit for limit in limits if limit.profile in tables and quantity(limit.max or "0") > 0), None)


def _tabulated(spec: ArchitectureSearchSpec) -> ArchitectureSearchSpec:
    """The spec with tables of the latencies that are needed to search."""
    wanted: list[Objective | Constraint] = [*(spec.objectives or ()), *spec.constraints]
    timed = {item.profile for item in wanted if item.metric == "latencyMs"}
    if spec.algorithm is not None or spec.artifacts is None or not timed:
        return spec
    profiles = spec.profiles or (_trials_own_profile(spec.trial),)
    table = SearchLatency(measured_table=MeasuredTable())
    return spec.model_copy(
        update={
            "profiles": tuple(
                profile.model_copy(update={"search_latency": profile.search_latency or table})
                if profile.name in timed
                else profile
                for profile in profiles
            )
        }
    )


def _hardware(spec: ArchitectureSearchSpec) -> bool:
    """Whether a number that only hardware can tell matters."""
    wanted = [item.metric for item in spec.objectives or ()] + [item.metric for item in spec.constraints]
    return any(metric in MEASURED for metric in wanted)


def _why_space(spec: ArchitectureSearchSpec) -> str:
    if (name := spec.task.member[0]) != "imageClassification":
        return f"it is the space of {name}"
    if _hardware(spec):
        return "latency, throughput or memory matters: the layers of a chain differ far more in it than cells do"
    return "nothing but accuracy and size matters: cells that are repeated are the space of most published results"


def _trials_own_profile(trial: Placement) -> Profile:
    """The hardware that the trials run on."""
    return Profile(name=DEFAULT_PROFILE, **{name: getattr(trial, name) for name in Placement.model_fields})
