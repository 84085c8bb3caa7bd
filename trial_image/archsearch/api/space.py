"""The union of the spaces: the architectures that are searched."""

from __future__ import annotations

from pydantic import Field

from archsearch.api.base import OneOf
from archsearch.api.cells import (
    AMOEBANET_OPERATIONS,
    DARTS_OPERATIONS,
    CellStack,
    DartsCells,
    DartsOperation,
    NasBench201,
    NasnetCells,
    NasnetOperation,
    StageStack,
)
from archsearch.api.chains import (
    ChainSize,
    ChainStage,
    ChainStem,
    ElasticChain,
    ElasticStage,
    EnasMacro,
    MacroSize,
    MbconvChain,
)
from archsearch.api.custom import CustomChoice, CustomCondition, CustomSpace
from archsearch.api.fusions import FUSION_OPERATORS, FusionNetwork, FusionOperator, FusionSize
from archsearch.api.hierarchies import HierarchicalMotifs, ResolutionTrellis, TrellisSize
from archsearch.api.pyramids import FeaturePyramid, PyramidStage
from archsearch.api.sequences import SEQUENCE_OPERATIONS, SequenceCells, SequenceChain, SequenceStack, SequenceStem
from archsearch.api.translators import ElasticTransformer, ElasticTransformerSize

__all__ = [
    "AMOEBANET_OPERATIONS", "DARTS_OPERATIONS", "FUSION_OPERATORS", "SEQUENCE_OPERATIONS", "CellStack", "ChainSize",
    "ChainStage", "ChainStem", "CustomChoice", "CustomCondition", "CustomSpace", "DartsCells", "DartsOperation",
    "ElasticChain", "ElasticStage", "ElasticTransformer", "ElasticTransformerSize", "EnasMacro", "FeaturePyramid",
    "FusionNetwork", "FusionOperator", "FusionSize", "HierarchicalMotifs", "MacroSize", "MbconvChain", "NasBench201",
    "NasnetCells", "NasnetOperation", "PyramidStage", "ResolutionTrellis", "SequenceCells", "SequenceChain",
    "SequenceStack", "SequenceStem", "Space", "StageStack", "TrellisSize",
]  # fmt: skip


class Space(OneOf):
    """The architectures that are searched."""

    darts_cells: DartsCells | None = None
    """The space of most papers on differentiable search."""
    nas_bench201: NasBench201 | None = Field(default=None, alias="nasBench201")
    """The cell of NAS-Bench-201."""
    nasnet_cells: NasnetCells | None = None
    """The cells of NASNet, AmoebaNet and ENAS."""
    enas_macro: EnasMacro | None = None
    """A whole network with skip connections, layer by layer."""
    mbconv_chain: MbconvChain | None = None
    """Mobile networks, layer by layer."""
    elastic_chain: ElasticChain | None = None
    """Mobile networks that share all their weights, for one-shot search."""
    resolution_trellis: ResolutionTrellis | None = None
    """The resolution of each layer, and the cell of all layers."""
    hierarchical_motifs: HierarchicalMotifs | None = None
    """A cell of motifs, which are graphs of operations."""
    feature_pyramid: FeaturePyramid | None = None
    """A detector: its backbone layer by layer, and how maps of several resolutions are merged."""
    sequence_cells: SequenceCells | None = None
    """A cell over sequences, with convolutions, attention and recurrence."""
    sequence_chain: SequenceChain | None = None
    """Small networks over sequences, layer by layer."""
    fusion_network: FusionNetwork | None = None
    """Where two encoders, of images and of questions, are joined, and how."""
    elastic_transformer: ElasticTransformer | None = None
    """Transformers that translate and share all their weights, for one-shot search."""
    custom: CustomSpace | None = None
    """A space in the user's own image."""

    @property
    def mixable(self) -> bool:
        """Whether a supernet can run all alternatives at once, weighted, as differentiable search does."""
        if self.custom is not None:
            return self.custom.mixable
        unmixable = (self.elastic_chain, self.hierarchical_motifs, self.elastic_transformer, self.feature_pyramid)
        return all(settings is None for settings in unmixable)
