"""The network of a fusion space: an image encoder, a question encoder, and nodes that fuse their layers.

MFAS (Perez-Rua et al. 2019) fuses layers of encoders that were trained before; here everything is trained at once, as
there is nothing to train a small encoder on but the questions. In a mixture a node sees the weighted sum of all layers,
each pooled to one size and projected to the node's width, and the weighted sum of all operators. A fixed network has
no layer beyond the deepest that a node sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import FusionNetwork, FusionSize
from archsearch.networks.base import SpaceNetwork, add, weighed
from archsearch.networks.chooser import Alternatives, Chooser, Mix, Number
from archsearch.networks.inputs import Inputs
from archsearch.spaces.fusion import image_name, operator_name, question_name

PADDING: Final = 0
"""The token that fills a question up."""
KERNEL: Final = 3
"""Words that a layer of the question encoder sees at once."""


@dataclass(frozen=True)
class Embedded:
    """What the encoders make of their inputs first. features: of the image's first layer (N, C, H, W). words: the
    embeddings (N, T, width). mask: 1 where there is a word, (N, T, 1)."""

    features: Tensor
    words: Tensor
    mask: Tensor


class Joined(nn.Module):
    """An operator of a node: from a pair, the map (N, width, h, w) and the question (N, width), to (N, width).

    Its outputs are normalised, so that mixing weights compare operators and not their scales.
    """

    def __init__(self, width: int, affine: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=affine)

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        """(N, width)."""
        joined: Tensor = self.norm(self.join(*pair))
        return joined

    def join(self, features: Tensor, question: Tensor) -> Tensor:
        """Before normalisation."""
        raise NotImplementedError


class Sum(Joined):
    """The sum of the map's mean and the question."""

    def join(self, features: Tensor, question: Tensor) -> Tensor:
        """(N, width)."""
        return features.mean((2, 3)) + question


class Film(Joined):
    """Feature-wise linear modulation (Perez et al. 2018): the question scales and shifts each channel of the map."""

    def __init__(self, width: int, affine: bool) -> None:
        super().__init__(width, affine)
        self.modulation = nn.Linear(width, 2 * width)

    def join(self, features: Tensor, question: Tensor) -> Tensor:
        """The mean over the map after ReLU."""
        scale, shift = self.modulation(question)[:, :, None, None].chunk(2, dim=1)
        return F.relu((1 + scale) * features + shift).mean((2, 3))


class Attention(Joined):
    """Scaled dot products of the question with the places of the map; what it attends to is added to the question."""

    def __init__(self, width: int, affine: bool) -> None:
        super().__init__(width, affine)
        self.query, self.value = nn.Linear(width, width), nn.Linear(width, width)

    def join(self, features: Tensor, question: Tensor) -> Tensor:
        """(N, width)."""
        places = features.flatten(2)  # (N, width, h x w)
        scores = (self.query(question)[:, None] @ places) / math.sqrt(places.shape[1])  # (N, 1, h x w)
        attended: Tensor = self.value((torch.softmax(scores, dim=2) @ places.transpose(1, 2))[:, 0])
        return question + attended


class Glu(Joined):
    """A gated linear unit (Yin et al. 2022): the question decides how much of each number of the image passes."""

    def __init__(self, width: int, affine: bool) -> None:
        super().__init__(width, affine)
        self.value, self.gate = nn.Linear(width, width), nn.Linear(width, width)

    def join(self, features: Tensor, question: Tensor) -> Tensor:
        """(N, width)."""
        passed: Tensor = self.value(features.mean((2, 3))) * torch.sigmoid(self.gate(question))
        return passed


class ConcatFc(Joined):
    """A fully connected layer on both (Yin et al. 2022; Perez-Rua et al. 2019, equation 1)."""

    def __init__(self, width: int, affine: bool) -> None:
        super().__init__(width, affine)
        self.linear = nn.Linear(2 * width, width)

    def join(self, features: Tensor, question: Tensor) -> Tensor:
        """(N, width)."""
        return F.relu(self.linear(torch.cat([features.mean((2, 3)), question], dim=1)))


OPERATORS: Final[dict[str, type[Joined]]] = {
    "sum": Sum, "film": Film, "attention": Attention, "glu": Glu, "concat_fc": ConcatFc,
}  # fmt: skip


class Node(nn.Module):
    """Fuses a layer of each encoder, and adds what the node before has made.

    grid: height and width that maps are pooled to.
    """

    def __init__(
        self, chooser: Chooser, settings: FusionNetwork, size: FusionSize, *, node: int, grid: tuple[int, int],
        affine: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.image = chooser.number(image_name(node), range(settings.image_layers))
        self.question = chooser.number(question_name(node), range(settings.question_layers))
        self.maps = nn.ModuleDict(
            {str(layer): _projection(channels(size, layer), size.width, affine) for layer in self.image.values}
        )
        self.vectors = nn.ModuleDict(
            {
                str(layer): nn.Sequential(
                    nn.Linear(size.width, size.width), nn.LayerNorm(size.width, elementwise_affine=affine)
                )
                for layer in self.question.values
            }
        )
        build = {str(word): _builder(word, size.width, affine) for word in settings.operators}
        self.operator = chooser.operation(operator_name(node), Alternatives(build, None))
        self.previous = nn.Linear(size.width, size.width) if node else None
        self._grid = grid

    def forward(
        self, maps: list[Tensor], vectors: list[Tensor], previous: Tensor | None, mix: Mix | None
    ) -> Tensor:  # fmt: skip
        """maps and vectors: of the encoders' layers. (N, width)."""
        features = add(
            weighed(share, self.maps[str(layer)](F.adaptive_avg_pool2d(maps[layer], self._grid)))
            for layer, share in self.image.shares(mix).items()
        )
        question = add(
            weighed(share, self.vectors[str(layer)](vectors[layer]))
            for layer, share in self.question.shares(mix).items()
        )
        fused: Tensor = self.operator((features, question), mix)
        if self.previous is not None:
            fused = fused + self.previous(previous)
        return F.relu(fused)


class FusedNetwork(SpaceNetwork):
    """Takes images (N, C, H, W) and the tokens of questions (N, T), filled up with PADDING."""

    def __init__(
        self, chooser: Chooser, settings: FusionNetwork, size: FusionSize, *, signature: Signature, affine: bool
    ) -> None:
        super().__init__()
        if [(len(item.shape), item.vocabulary is None) for item in signature.inputs] != [(3, True), (1, False)]:
            raise ValueError(f"a fusion network must have images and a question as inputs, but got {signature}")
        images, question = signature.inputs
        height, width = (math.ceil(side / 2**settings.image_layers) for side in images.shape[1:])
        nodes = [
            Node(chooser, settings, size, node=node, grid=(height, width), affine=affine)
            for node in range(settings.nodes)
        ]
        self.nodes = nn.ModuleList(nodes)
        given = [images.shape[0], *(channels(size, layer) for layer in range(settings.image_layers))]
        self.images = nn.ModuleList(
            _halving(given[layer], given[layer + 1]) for layer in range(_deepest(node.image for node in nodes) + 1)
        )
        self.words = nn.Embedding(question.vocabulary or 0, size.width, padding_idx=PADDING)
        self.questions = nn.ModuleList(
            nn.Conv1d(size.width, size.width, KERNEL, padding=KERNEL // 2)
            for _ in range(_deepest(node.question for node in nodes))
        )
        self.classifier = nn.Linear(size.width, signature.classes)

    def embed(self, inputs: Inputs) -> Embedded:
        """The first features of both inputs, where an adversarial step can change them."""
        images, tokens = inputs
        mask = (tokens != PADDING).to(images.dtype)[:, :, None]
        return Embedded(self.images[0](images), self.words(tokens), mask)

    def answer(self, embedded: Embedded, mix: Mix | None = None) -> Tensor:
        """The logits (N, classes) from the first features."""
        maps, x = [embedded.features], embedded.features
        for layer in self.images[1:]:
            x = layer(x)
            maps.append(x)
        mask = embedded.mask
        words = embedded.words * mask
        count = mask.sum(1).clamp(min=1)  # (N, 1)
        vectors = [words.sum(1) / count]
        for layer in self.questions:
            words = (words + F.relu(layer(words.transpose(1, 2)).transpose(1, 2))) * mask
            vectors.append(words.sum(1) / count)
        fused: Tensor | None = None
        for node in self.nodes:
            fused = node(maps, vectors, fused, mix)
        logits: Tensor = self.classifier(fused)
        return logits

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """Images and tokens -> (N, classes)."""
        return self.answer(self.embed(inputs), mix)


def channels(size: FusionSize, layer: int) -> int:
    """Channels of a layer of the image encoder."""
    return size.channels << layer


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    """A layer of the image encoder: half the height and width, rounded up."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _projection(inputs: int, outputs: int, affine: bool) -> nn.Sequential:
    """To a node's width, with one scale for all layers."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs, affine=affine))


def _builder(word: str, width: int, affine: bool) -> Callable[[int], nn.Module]:
    return lambda _channels: OPERATORS[word](width, affine)


def _deepest(numbers: Iterable[Number]) -> int:
    return max(max(number.values) for number in numbers)
