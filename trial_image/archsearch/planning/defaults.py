"""What a spec means where it is silent. The answer is shown in the status, so that nobody has to guess."""

from __future__ import annotations

from archsearch.api.algorithm import Algorithm, RegularizedEvolution
from archsearch.api.evaluation import Evaluation, TrainEvaluation
from archsearch.api.metrics import DEFAULT_GOALS
from archsearch.api.search import DEFAULT_PROFILE, ArchitectureSearchSpec, Export, Objective, Placement, Profile
from archsearch.api.space import DartsCells, Space


def resolve(spec: ArchitectureSearchSpec, image: str) -> ArchitectureSearchSpec:
    """The spec with every default that depends on something else filled in; `image` is the operator's trial image.

    It never depends on what may be changed while a search runs: a larger budget must not change the algorithm.
    """
    objectives = spec.objectives or (Objective(metric="accuracy"),)
    algorithm = spec.algorithm or Algorithm(regularized_evolution=RegularizedEvolution())
    trial = spec.trial if spec.trial.image else spec.trial.model_copy(update={"image": image})
    return spec.model_copy(
        update={
            "space": spec.space or Space(darts_cells=DartsCells()),
            "algorithm": algorithm,
            "evaluation": spec.evaluation or (Evaluation(train=TrainEvaluation()) if algorithm.proposes else None),
            "objectives": tuple(
                objective.model_copy(update={"goal": objective.goal or DEFAULT_GOALS[objective.metric]})
                for objective in objectives
            ),
            "profiles": spec.profiles or (_trials_own_profile(trial),),
            "export": spec.export or Export(format="ONNX" if spec.artifacts and spec.retrain.top_k else "None"),
            "trial": trial,
        }
    )


def _trials_own_profile(trial: Placement) -> Profile:
    """The hardware that the trials run on."""
    return Profile(name=DEFAULT_PROFILE, **{name: getattr(trial, name) for name in Placement.model_fields})
