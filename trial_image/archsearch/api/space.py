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
from archsearch.api.hierarchies import HierarchicalMotifs, ResolutionTrellis, TrellisSize
from archsearch.api.pyramids import FeaturePyramid, PyramidStage

__all__ = [
    "AMOEBANET_OPERATIONS", "DARTS_OPERATIONS", "CellStack", "ChainSize", "ChainStage", "ChainStem", "CustomChoice",
    "CustomCondition", "CustomSpace", "DartsCells", "DartsOperation", "ElasticChain", "ElasticStage", "EnasMacro",
    "FeaturePyramid", "HierarchicalMotifs", "MacroSize", "MbconvChain", "NasBench201", "NasnetCells",
    "NasnetOperation", "PyramidStage", "ResolutionTrellis", "Space", "StageStack", "TrellisSize",
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
    custom: CustomSpace | None = None
    """A space in the user's own image."""

    @property
    def mixable(self) -> bool:
        """Whether a supernet can run all alternatives at once, weighted, as differentiable search does."""
        if self.custom is not None:
            return self.custom.mixable
        return self.elastic_chain is None and self.hierarchical_motifs is None and self.feature_pyramid is None
