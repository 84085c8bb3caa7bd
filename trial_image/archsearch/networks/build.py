"""From a space to its networks: one architecture, the supernet, and a trace of what the network asks for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from archsearch.api.base import ChoiceValue
from archsearch.api.signature import Input, Signature, image_signature
from archsearch.api.space import (
    CustomSpace,
    DartsCells,
    ElasticChain,
    ElasticTransformer,
    EnasMacro,
    FeaturePyramid,
    FusionNetwork,
    HierarchicalMotifs,
    MbconvChain,
    NasBench201,
    NasnetCells,
    ResolutionTrellis,
    SequenceCells,
    SequenceChain,
)
from archsearch.networks.base import SpaceNetwork
from archsearch.networks.chains import mbconv_network
from archsearch.networks.chooser import Chooser, Fixed, Super, Trace
from archsearch.networks.custom import WrongNetwork, compare, custom_network
from archsearch.networks.darts import DartsNetwork
from archsearch.networks.elastic import crop, elastic_network
from archsearch.networks.elastic_transformer import ElasticTransformerNetwork
from archsearch.networks.enas_macro import EnasMacroNetwork
from archsearch.networks.fused import FusedCell
from archsearch.networks.fusion import FusedNetwork
from archsearch.networks.motifs import MotifNetwork
from archsearch.networks.nasbench201 import NasBench201Network
from archsearch.networks.nasnet import NasnetNetwork
from archsearch.networks.pyramid import PyramidNetwork
from archsearch.networks.sequence_cells import SequenceCellNetwork
from archsearch.networks.sequence_chain import SequenceChainNetwork
from archsearch.networks.trellis import TrellisNetwork
from archsearch.spaces import Architecture, Space

Stack = Literal["search", "final"]
NETWORKS: Final[dict[type, Any]] = {
    DartsCells: partial(DartsNetwork, cell=FusedCell),
    NasBench201: NasBench201Network,
    NasnetCells: NasnetNetwork,
    EnasMacro: EnasMacroNetwork,
    MbconvChain: mbconv_network,
    ElasticChain: elastic_network,
    ResolutionTrellis: TrellisNetwork,
    HierarchicalMotifs: MotifNetwork,
    FeaturePyramid: PyramidNetwork,
    SequenceCells: SequenceCellNetwork,
    SequenceChain: SequenceChainNetwork,
    FusionNetwork: FusedNetwork,
    ElasticTransformer: ElasticTransformerNetwork,
    CustomSpace: custom_network,
}
"""The network of each space, by the type of its settings."""

IMAGES: Final = image_signature((3, 32, 32), 10)
QUESTIONS: Final = Signature(
    inputs=(*IMAGES.inputs, Input(name="question", shape=(8,), vocabulary=16)), outputs="Classes", classes=10
)
TEXTS: Final = Signature(
    inputs=tuple(Input(name=name, shape=(8,), vocabulary=16) for name in ("source", "target")),
    outputs="Tokens",
    classes=16,
)
FRAMES: Final = Signature(inputs=(Input(name="frames", shape=(8, 32)),), outputs="Classes", classes=10)
TRACED: Final[dict[type, Signature]] = {
    SequenceCells: FRAMES,
    SequenceChain: FRAMES,
    FusionNetwork: QUESTIONS,
    ElasticTransformer: TEXTS,
}
"""What the networks of a space are built for where only their choices matter; IMAGES for all others."""
TRIED: Final = 32
"""Architectures in which a custom network is tried."""


def network(
    space: Space, architecture: Architecture, *, stack: Stack, signature: Signature, affine: bool = True
) -> SpaceNetwork:
    """The network of one architecture, with new weights from torch's global generator.

    stack: as large as while searching, or as in the final network. With the search stack and `affine=False` it can
    `inherit` the supernet's weights.
    Raises ValueError where the architecture does not answer exactly what the network asks.
    """
    chooser = Fixed(architecture)
    built = _build(space, chooser, stack, signature, affine)
    if unasked := architecture.values.keys() - chooser.asked:
        raise ValueError(
            f"the network of {space.name} must ask for every choice, but not for {', '.join(sorted(unasked))}"
        )
    return built


def supernet(
    space: Space, *, signature: Signature, partial_channels: int = 1, auxiliary_skip: bool = False
) -> SpaceNetwork:
    """The network that holds every operation on every edge, called with inputs and a mix.

    Its parameters are the network weights only; its batch normalisations in the cells have none.
    space: a copy with fewer alternatives gives a supernet of these. Options as in Super, ValueError too.
    """
    chooser = Super(space, partial_channels=partial_channels, auxiliary_skip=auxiliary_skip)
    return _build(space, chooser, "search", signature, affine=False)


def inherit(network: nn.Module, shared: Mapping[str, Tensor]) -> None:
    """Give a network its part of shared weights and buffers, such as a supernet's `state_dict()`.

    Of a tensor that is larger than the network's own of that name it is the first channels and the middle of the
    kernels, as the supernet uses them. Raises ValueError where one is missing or smaller.
    """
    state = network.state_dict()
    for name, own in state.items():
        if name not in shared:
            raise ValueError(f"the shared weights must hold {name}, but do not")
        try:
            state[name] = crop(shared[name], own.shape)
        except ValueError as misfit:
            raise ValueError(f"the shared weights must hold a larger {name}: {misfit}") from None
    network.load_state_dict(state)


def traced(space: Space) -> Signature:
    """What the networks of the space can be built for where only their choices matter."""
    return TRACED.get(type(space.settings), IMAGES)


def trace(space: Space, signature: Signature | None = None) -> dict[str, tuple[ChoiceValue, ...]]:
    """What the network of a space asks for: the alternatives by the name of the choice. No weights are made.

    signature: what it is built for, which its choices do not depend on.
    """
    chooser = Trace()
    with torch.device("meta"):
        _build(space, chooser, "search", signature or traced(space), affine=False)
    return chooser.asked


def check_custom(space: Space, signature: Signature | None = None) -> None:
    """Raises WrongNetwork where the network of a custom space asks for other choices than the space declares.

    What it asks for in all, and in some architectures, so that it follows what the choices depend on.
    """
    compare(space, trace(space, signature))
    rng = np.random.default_rng(0)
    for architecture in {space.sample(rng): None for _ in range(TRIED)}:
        with torch.device("meta"):
            chooser = Fixed(architecture)
            try:
                _build(space, chooser, "search", signature or traced(space), affine=True)
            except WrongNetwork as error:
                if not isinstance(error.__cause__, KeyError) or error.__cause__.args[0] not in chooser.asked:
                    raise
        if differing := chooser.asked ^ architecture.values.keys():
            raise WrongNetwork(
                f"space.custom.choices: the network must ask for a choice exactly where its `when` holds, but not so "
                f"for {', '.join(sorted(differing))} in {architecture.json()}"
            )


def _build(space: Space, chooser: Chooser, stack: Stack, signature: Signature, affine: bool) -> SpaceNetwork:
    settings: Any = space.settings
    size = settings.search if stack == "search" else settings.final
    built: SpaceNetwork = NETWORKS[type(settings)](chooser, settings, size, signature=signature, affine=affine)
    return built
