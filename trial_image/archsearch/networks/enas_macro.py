"""The macro network of ENAS (Pham et al. 2018, section 2.3): a chain of layers with skip connections, a linear head.

A layer's result and the outputs that its skip connections bring are concatenated and projected. In a mixture every
output comes with the weight of its bit being 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import EnasMacro, MacroSize
from archsearch.networks.base import SpaceNetwork, alternatives, weighed
from archsearch.networks.chooser import Chooser, Mix
from archsearch.networks.inputs import Inputs
from archsearch.networks.joined import Projection
from archsearch.networks.operations import ENAS_OPERATIONS, ReluConvNorm
from archsearch.spaces.enas_macro import BITS, OPERATIONS, operation_name, skip_name

RESULT: Final = "result"


class Layer(nn.Module):
    """A 1 x 1 convolution, the operation, and what joins its result with the outputs of earlier layers.

    In the published code every operation has the first convolution for itself; it is the same in a fixed network.

    inputs: channels of what the operation is on; sources: of the outputs of all layers before.
    """

    def __init__(
        self, chooser: Chooser, index: int, *, inputs: int, sources: Sequence[int], channels: int, affine: bool
    ) -> None:
        super().__init__()
        self.first = ReluConvNorm(inputs, channels, 1, 1, affine)
        self.operation = chooser.operation(
            operation_name(index), alternatives(ENAS_OPERATIONS, OPERATIONS, channels, 1, affine)
        )
        self._skips = [chooser.number(skip_name(index, source), BITS) for source in range(index)]
        parts = {str(source): sources[source] for source, skip in enumerate(self._skips) if 1 in skip.values}
        self.join = Projection({RESULT: channels, **parts}, channels, affine=affine)

    def forward(self, x: Tensor, outputs: Sequence[Tensor], mix: Mix | None) -> Tensor:
        """(N, inputs, H, W), and of every layer before (N, its channels, H, W) -> (N, C, H, W)."""
        parts: dict[str, Tensor] = {RESULT: self.operation(self.first(x), mix)}
        for source, skip in enumerate(self._skips):
            shares = skip.shares(mix)
            if 1 in shares:
                parts[str(source)] = weighed(shares[1], outputs[source])
        joined: Tensor = self.join(parts)
        return joined


class EnasMacroNetwork(SpaceNetwork):
    """Before the layers at one third and two thirds of the depth all outputs are pooled: half the height and width.

    From there on layers have twice the channels.
    """

    def __init__(
        self,
        chooser: Chooser,
        settings: EnasMacro,
        size: MacroSize,
        *,
        signature: Signature,
        affine: bool,
    ) -> None:
        super().__init__()
        self._reductions = (settings.layers // 3, 2 * settings.layers // 3)
        channels = [size.channels * 2 ** sum(at <= i for at in self._reductions) for i in range(settings.layers)]
        self.stem = nn.Sequential(
            nn.Conv2d(signature.shape[0], channels[0], 3, padding=1, bias=False), nn.BatchNorm2d(channels[0])
        )
        # The ceiling makes a map of odd size come out as large as from a strided convolution.
        self.pool = nn.AvgPool2d(2, ceil_mode=True)
        self.layers = nn.ModuleList(
            Layer(
                chooser,
                index,
                inputs=channels[max(index - 1, 0)],
                sources=channels[:index],
                channels=channels[index],
                affine=affine,
            )
            for index in range(settings.layers)
        )
        self.last = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels[-1], signature.classes)

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """(N, image_channels, H, W) -> (N, classes)."""
        x: Tensor = self.stem(inputs)
        outputs: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            if index in self._reductions:
                outputs = [self.pool(output) for output in outputs]
                x = outputs[-1]
            x = layer(x, outputs, mix)
            outputs.append(x)
        logits: Tensor = self.classifier(self.last(x))
        return logits
