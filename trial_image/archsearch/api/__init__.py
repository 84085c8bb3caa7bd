"""The API: pydantic models of both resources and of the contract with a trial's container. No torch, no Kubernetes."""

from archsearch.api.algorithm import Algorithm, RandomSearch, RegularizedEvolution
from archsearch.api.base import API_VERSION, GROUP, VERSION, quantity
from archsearch.api.differentiable import Differentiable
from archsearch.api.search import ArchitectureSearchSpec, ArchitectureSearchStatus, Condition
from archsearch.api.space import (
    CustomSpace,
    DartsCells,
    ElasticChain,
    ElasticTransformer,
    EnasMacro,
    FeaturePyramid,
    HierarchicalMotifs,
    MbconvChain,
    NasBench201,
    NasnetCells,
    ResolutionTrellis,
    Space,
)
from archsearch.api.task import Dataset, ImageClassification, Task, Translation
from archsearch.api.translation import SentencePairs
from archsearch.api.trial import ArchitectureTrialSpec, ArchitectureTrialStatus, Trial, TrialResult
from archsearch.api.work import Message, Work

__all__ = [
    "API_VERSION", "GROUP", "VERSION", "Algorithm", "ArchitectureSearchSpec", "ArchitectureSearchStatus",
    "ArchitectureTrialSpec", "ArchitectureTrialStatus", "Condition", "CustomSpace", "DartsCells", "Dataset",
    "Differentiable", "ElasticChain", "ElasticTransformer", "EnasMacro", "FeaturePyramid", "HierarchicalMotifs",
    "ImageClassification", "MbconvChain", "Message", "NasBench201", "NasnetCells", "RandomSearch",
    "RegularizedEvolution", "ResolutionTrellis", "SentencePairs", "Space", "Task", "Translation", "Trial",
    "TrialResult", "Work", "quantity",
]  # fmt: skip
