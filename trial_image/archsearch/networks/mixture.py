"""The mix of a supernet's pass, and the modules that follow it: what stands on an edge while nothing is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Final, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from archsearch.api.base import ChoiceValue
from archsearch.networks.operations import SKIP, Zero


@dataclass(frozen=True)
class Sparse:
    """Mixing weights of which only some are computed. weights: all of them, (alternatives,); active: positions."""

    weights: Tensor
    active: tuple[int, ...]


Mix = Mapping[str, "Tensor | Sparse | ChoiceValue"]
"""What a supernet is called with, by the name of the choice.

A tensor mixes all alternatives of an operation, one number for each; of a choice of inputs it weighs each predecessor,
and where there is no entry all count alike. A plain value stands for that option alone: an architecture's values are
the mix that runs this architecture with the shared weights. Beside the choices there may be AUXILIARY_SKIP and
SKIP_DROPOUT, each a tensor without dimensions.
"""

AUXILIARY_SKIP: Final = "auxiliary skip"
"""The weight of the skip connection beside every mixture (Chu et al. 2021); none where there is no entry."""
SKIP_DROPOUT: Final = "skip dropout"
"""The share of a skip connection's outputs that is dropped in training (Chen et al. 2019, section 3.3)."""


class Mixture(nn.ModuleDict):
    """All alternatives of a choice, added up with the weights of that choice (Liu et al. 2019, equation 2)."""

    def __init__(self, name: str, alternatives: Mapping[str, nn.Module]) -> None:
        super().__init__(alternatives)
        self.name = name
        self._keys = tuple(alternatives)

    def forward(self, x: Tensor, mix: Mix) -> Tensor:
        """The weighted sum, or one of them. `none` adds nothing, whatever its weight, and 0 x NaN would be NaN."""
        chosen = mix[self.name]
        if isinstance(chosen, str):
            output: Tensor = self[chosen](x)
            return output
        if isinstance(chosen, Sparse):
            weights, active = chosen.weights, chosen.active
        elif isinstance(chosen, Tensor):
            weights, active = chosen, tuple(range(len(self._keys)))
        else:
            raise TypeError(f"{self.name} must be the name of an operation or weights, but got {chosen!r}")
        if weights.shape != (len(self._keys),):
            raise ValueError(f"{self.name} must have {len(self._keys)} weights, but got {tuple(weights.shape)}")
        each = weights.unbind()
        computed = [at for at in active if not isinstance(self[self._keys[at]], Zero)]
        # Where `none` alone is active its zeros have the right shape.
        terms = [each[at] * self._output(self._keys[at], x, mix) for at in computed or active]
        return reduce(torch.add, terms)

    def _output(self, key: str, x: Tensor, mix: Mix) -> Tensor:
        output: Tensor = self[key](x)
        rate = mix.get(SKIP_DROPOUT) if key == SKIP else None
        return output if rate is None else F.dropout(output, float(cast("Tensor", rate)), self.training)


class PartialChannels(nn.Module):
    """Mixes one in `share` of the channels and lets the others pass (Xu et al. 2020).

    A shuffle spreads the mixed channels, so that the next edge mixes others. Where the edge strides, a maximum takes
    the place of what passes.
    """

    def __init__(self, mixture: Mixture, share: int, stride: int) -> None:
        super().__init__()
        self.mixture, self.share, self.stride = mixture, share, stride

    def forward(self, x: Tensor, mix: Mix) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride)); C must be divisible by `share`."""
        mixed = x.shape[1] // self.share
        rest = x[:, mixed:]
        if self.stride > 1:
            rest = F.max_pool2d(rest, self.stride, ceil_mode=True)
        return torch.channel_shuffle(torch.cat([self.mixture(x[:, :mixed], mix), rest], dim=1), self.share)


class AuxiliarySkip(nn.Module):
    """A mixture with a skip connection beside it that is no candidate (Chu et al. 2021, DARTS-, equation 3)."""

    def __init__(self, mixture: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.mixture, self.skip = mixture, skip

    def forward(self, x: Tensor, mix: Mix) -> Tensor:
        """The mixture alone where the mix has no weight for the skip connection."""
        output: Tensor = self.mixture(x, mix)
        weight = mix.get(AUXILIARY_SKIP)
        return output if weight is None else output + cast("Tensor", weight) * self.skip(x)
