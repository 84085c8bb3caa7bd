"""Search spaces: choices, architectures, and what searchers do with them. No torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from archsearch.api.space import Space as SpaceSpec
from archsearch.spaces.architecture import Architecture, InvalidArchitecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.custom import custom
from archsearch.spaces.darts import darts_cells
from archsearch.spaces.elastic import elastic_chain
from archsearch.spaces.elastic_transformer import elastic_transformer
from archsearch.spaces.enas_macro import enas_macro
from archsearch.spaces.fusion import fusion_network
from archsearch.spaces.mbconv import mbconv_chain
from archsearch.spaces.motifs import hierarchical_motifs
from archsearch.spaces.nasbench201 import nasbench201
from archsearch.spaces.nasnet import nasnet_cells
from archsearch.spaces.pyramid import feature_pyramid
from archsearch.spaces.sequences import sequence_cells, sequence_chain
from archsearch.spaces.space import Space
from archsearch.spaces.trellis import resolution_trellis

__all__ = ["Architecture", "Choice", "InvalidArchitecture", "Space", "space_of"]

SPACES: Final[dict[str, Callable[[Any], Space]]] = {
    "dartsCells": darts_cells,
    "nasBench201": nasbench201,
    "nasnetCells": nasnet_cells,
    "enasMacro": enas_macro,
    "mbconvChain": mbconv_chain,
    "elasticChain": elastic_chain,
    "resolutionTrellis": resolution_trellis,
    "hierarchicalMotifs": hierarchical_motifs,
    "featurePyramid": feature_pyramid,
    "sequenceCells": sequence_cells,
    "sequenceChain": sequence_chain,
    "fusionNetwork": fusion_network,
    "elasticTransformer": elastic_transformer,
    "custom": custom,
}
"""The space of each member of the API's union."""


def space_of(spec: SpaceSpec) -> Space:
    """The space that a spec declares. Raises ValueError where its settings leave a choice without an option."""
    member, settings = spec.member
    return SPACES[member](settings)
