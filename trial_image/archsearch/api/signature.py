"""What a task gives to networks and wants from them: all that a network's stem and head depend on."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, FiniteFloat

from archsearch.api.base import Model

Outputs = Literal["Classes", "Map", "Boxes", "Tokens"]
"""Classes: (N, classes) logits. Map: (N, classes, H, W), one for each pixel of the input. Boxes: (N, places,
4 + classes), a box (left, top, right, bottom in pixels) and a logit for each class, whose sigmoid is the score. Places
are those of a map for each of STRIDES, one after the other and each row by row; a map is as large as the image divided
by its stride, rounded up. Tokens: (N, classes, T), one for each place of the last input."""
STRIDES: Final = (8, 16, 32)
"""Pixels between the places of Boxes. The first place of each map is half a stride from the left and the top."""


class Input(Model):
    """One input of a network, of one example."""

    name: str
    """What it is called in an exported model."""
    shape: Annotated[tuple[int, ...], Field(min_length=1)]
    """Without the dimension of the batch. Images: channels, height, width. Sequences of numbers: channels, steps.
    Sequences of tokens: steps."""
    vocabulary: Annotated[int, Field(ge=1)] | None = None
    """Of tokens, which are integers below this; None for numbers."""
    mean: tuple[FiniteFloat, ...] = ()
    """Of each channel over the training examples, on the scale of the data; empty for what is not normalised."""
    std: tuple[FiniteFloat, ...] = ()
    """Their deviation."""


class Signature(Model):
    """The inputs, in the order in which a network takes them, and the kind of its outputs."""

    inputs: Annotated[tuple[Input, ...], Field(min_length=1)]
    outputs: Outputs
    classes: Annotated[int, Field(ge=1)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first input."""
        return self.inputs[0].shape

    def __str__(self) -> str:
        """The inputs for a person: `images of 1x8x8`."""
        return " and ".join(f"{item.name} of {'x'.join(map(str, item.shape))}" for item in self.inputs)


def image_signature(shape: tuple[int, int, int], classes: int) -> Signature:
    """Of networks that classify images (channels, height, width) as they are given."""
    return Signature(inputs=(Input(name="images", shape=shape),), outputs="Classes", classes=classes)
