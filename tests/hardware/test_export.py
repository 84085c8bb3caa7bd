"""The exported file is complete, takes any number of images, and answers as PyTorch does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from archsearch.api import Space
from archsearch.api.signature import Input, Signature, image_signature
from archsearch.hardware import Deployed, export_onnx
from archsearch.hardware.export import BATCHES, difference
from archsearch.networks import network
from archsearch.spaces import SPACES, space_of


def signature(
    channels: int, mean: tuple[float, ...], std: tuple[float, ...], size: tuple[int, int] = (12, 12)
) -> Signature:
    images = Input(name="images", shape=(channels, *size), mean=mean, std=std)
    return Signature(inputs=(images,), outputs="Classes", classes=10)


def trained_like(channels: int) -> nn.Sequential:
    """A network whose BatchNorm has seen data, so that folding it matters."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 5, padding=4, dilation=2, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), nn.MaxPool2d(3, stride=1, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    for _ in range(10):
        network(torch.randn(16, channels, 12, 12) * 2 + 1)
    return network


def test_the_comparison_is_with_the_images_given(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []
    model = Deployed(trained_like(1), signature(1, (0.0,), (255.0,)))
    path = tmp_path / "model.onnx"
    export_onnx(model, path)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 1, 12, 12)
    assert difference(model, path, images) < 1e-5
    assert [len(batch) for batch in seen] == list(BATCHES)
    assert [int(image.max()) for image in torch.cat(seen)] == [number % 5 for number in range(sum(BATCHES))]


@pytest.mark.parametrize("channels", [1, 3])
def test_an_exported_network_answers_as_pytorch_does(tmp_path: Path, channels: int) -> None:
    mean, std = (70.0, 80.0, 90.0)[:channels], (60.0, 50.0, 40.0)[:channels]
    model = Deployed(trained_like(channels), signature(channels, mean, std))
    path = tmp_path / "model.onnx"
    largest = export_onnx(model, path)
    assert 0 <= largest < 1e-5
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]  # no second file with the weights

    # By itself: images of 0 to 255 as they come, whatever their number; the normalisation is inside.
    images = np.random.default_rng(0).integers(0, 256, (5, channels, 12, 12)).astype(np.float32)
    (logits,) = onnxruntime.InferenceSession(path).run(None, {"images": images})
    normalised = (images - np.array(mean, np.float32)[:, None, None]) / np.array(std, np.float32)[:, None, None]
    with torch.no_grad():
        expected = model.network.eval()(torch.from_numpy(normalised))
    assert logits.shape == (5, 10)
    assert float(np.abs(logits - expected.numpy()).max()) < 1e-5


TINY: dict[str, Any] = {
    "dartsCells": {"nodes": 1, "final": {"channels": 2, "cells": 3}},
    "nasBench201": {"final": {"channels": 2, "cells": 1}},
    "nasnetCells": {"nodes": 2, "final": {"channels": 2, "cells": 3}},
    "enasMacro": {"layers": 3, "final": {"channels": 2}},
    "mbconvChain": {
        "stem": {"channels": 4, "separable": 4},
        "stages": [{"channels": 4, "layers": 1}, {"channels": 6, "layers": 1, "stride": 2}],
        "headChannels": 8,
        "blocks": ["k3e1g2", "k5e2"],
    },
    "elasticChain": {
        "stem": {"channels": 4},
        "stages": [{"channels": 4, "depths": [1, 2]}, {"channels": 6, "depths": [1], "stride": 2}],
        "headChannels": 8,
    },
    "resolutionTrellis": {"layers": 3, "nodes": 1, "final": {"channels": 2}},
    "hierarchicalMotifs": {"motifs": 2, "motifNodes": 3, "cellNodes": 3, "final": {"channels": 4, "cells": 1}},
    "featurePyramid": {"stages": [{"channels": 4, "layers": 1}] * 4, "pyramidChannels": 4},
}


@pytest.mark.parametrize("name", [name for name in SPACES if name != "custom"])
def test_the_networks_of_every_space_can_be_exported(tmp_path: Path, name: str) -> None:
    space = space_of(Space.model_validate({name: TINY[name]}))
    torch.manual_seed(1)
    built = network(
        space, space.sample(np.random.default_rng(1)), stack="final", signature=image_signature((1, 7, 6), 3)
    )
    for _ in range(10):
        built(torch.randn(16, 1, 7, 6) * 2 + 1)
    assert export_onnx(Deployed(built, signature(1, (100.0,), (50.0,), (7, 6))), tmp_path / "model.onnx") < 1e-5


def test_the_file_names_its_ends_and_no_source_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(Deployed(trained_like(1), signature(1, (0.0,), (1.0,))), path)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    (given,), (returned,) = model.graph.input, model.graph.output
    assert (given.name, returned.name) == ("images", "outputs")
    sizes = [dimension.dim_param or dimension.dim_value for dimension in given.type.tensor_type.shape.dim]
    assert sizes[1:] == [1, 12, 12]
    assert isinstance(sizes[0], str)
    assert b".py" not in path.read_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_no_small_difference(tmp_path: Path, value: float) -> None:
    network = trained_like(1)
    last = network[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias[3] = value
    assert math.isnan(export_onnx(Deployed(network, signature(1, (0.0,), (255.0,))), tmp_path / "model.onnx"))


def test_another_network_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    network = trained_like(1)
    model = Deployed(network, (0.0,), (255.0,))
    export_onnx(model, path)
    last = network[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias[3] += 0.01
    assert difference(model, path) == pytest.approx(0.01, rel=0.01)
