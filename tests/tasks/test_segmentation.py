"""Images with masks: each wrong way named, split by image, judged by hand-computed cases, trained, exported."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from archsearch.api import Space as SpaceSpec
from archsearch.api.task import Task
from archsearch.evaluation import Trainer, evaluate
from archsearch.hardware import Deployed, export_onnx
from archsearch.networks import network
from archsearch.spaces import space_of
from archsearch.tasks import DataError, MaskData, Split, load
from archsearch.tasks.segmentation import IGNORED, shrunk_masks, split

SHARED = Path(os.environ.get("ARCHSEARCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
TRELLIS = space_of(
    SpaceSpec.model_validate(
        {"resolutionTrellis": {"layers": 2, "levels": 2, "nodes": 1, "search": {"channels": 4},
                               "final": {"channels": 4}}}
    )
)  # fmt: skip


def task(path: str = "set.npz", **settings: Any) -> Task:
    dataset = {"volume": {"claimName": "data", "path": path}}
    return Task.model_validate({"semanticSegmentation": {"dataset": dataset, **settings}})


def read(volume: Path, path: str = "set.npz", **settings: Any) -> MaskData:
    data = load(task(path, **settings), volume)
    assert isinstance(data, MaskData)
    return data


def arrays(**changed: Any) -> dict[str, Any]:
    """Bright places on a dark ground; the first pixel of each tile of 8x8 is the number of the image."""
    rng = np.random.default_rng(0)
    masks = np.kron(rng.integers(0, 2, (13, 4, 4)), np.ones((4, 4))).astype(np.int64)
    images = (masks * 120 + rng.integers(0, 100, masks.shape)).astype(np.uint8)
    images[:, ::8, ::8] = np.arange(13)[:, None, None]
    good = {"train_images": images[:10], "train_masks": masks[:10], "test_images": images[10:],
            "test_masks": masks[10:]}  # fmt: skip
    return {name: value for name, value in (good | changed).items() if value is not None}


def zeros(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.zeros(shape, dtype=dtype)


def one_two() -> np.ndarray:
    return arrays()["train_masks"] + 1


BAD_ARRAYS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "missing array": ({"test_masks": None}, {}, ["has no test_masks", "numpy.savez"]),
    "float images": ({"train_images": zeros(10, 16, 16, dtype=np.float32)}, {}, ["train_images", "uint8", "float32"]),
    "float masks": ({"train_masks": np.zeros((10, 16, 16))}, {}, ["train_masks", "whole numbers", "float64"]),
    "masks of another size": ({"test_masks": zeros(3, 8, 8)}, {}, ["test_masks", "(3, 16, 16)", "(3, 8, 8)"]),
    "one-hot masks": ({"train_masks": zeros(10, 16, 16, 2)}, {}, ["train_masks", "(10, 16, 16, 2)"]),
    "negative label": ({"train_masks": one_two() - 2}, {}, ["train_masks", "at least 0", "-1"]),
    "large label": ({"test_masks": zeros(3, 16, 16, dtype=int) + 300}, {}, ["test_masks", "at most 255", "300"]),
    "class without pixels": ({"train_masks": one_two() * 2}, {}, ["class 0 has none", "ignoredLabel"]),
    "one class": ({"train_masks": zeros(10, 16, 16)}, {}, ["at least 2 classes", "[0]"]),
    "test label of no class": ({"test_masks": zeros(3, 16, 16) + 5}, {}, ["test masks", "below 2", "got 5"]),
    "two images": (
        {"train_images": zeros(2, 16, 16), "train_masks": arrays()["train_masks"][:2]}, {}, ["at least 3", "got 2"]),
    "crop too large": ({}, {"crop": 17}, ["crop", "16 rows and 16 columns", "got 17"]),
    "crop too large once smaller": ({}, {"crop": 9, "downscale": 2}, ["crop", "8 rows and 8 columns", "got 9"]),
    "test images of another size": (
        {"test_images": zeros(3, 8, 8), "test_masks": zeros(3, 8, 8)}, {}, ["test_images", "(16, 16, 1)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_wrong_arrays_are_named(name: str, tmp_path: Path) -> None:
    changed, settings, expected = BAD_ARRAYS[name]
    np.savez(tmp_path / "set.npz", **arrays(**changed))
    with pytest.raises(DataError) as caught:
        read(tmp_path, **settings)
    for part in (str(tmp_path / "set.npz"), *expected):
        assert part in str(caught.value)


def save(root: Path, suffix: str = ".png") -> Path:
    """A folder of the same images."""
    made = arrays()
    for part in ("train", "test"):
        for kind in ("images", "masks"):
            folder = root / part / kind
            folder.mkdir(parents=True)
            for at, pixels in enumerate(made[f"{part}_{kind}"]):
                end = suffix if kind == "images" else ".png"
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"scan.{at:02}{end}")
    return root


def _coloured(root: Path) -> None:
    Image.new("RGB", (16, 16)).save(root / "test/masks/scan.01.png")


def _small(root: Path) -> None:
    Image.new("L", (8, 16)).save(root / "train/masks/scan.01.png")


def _cut(root: Path) -> None:
    file = root / "train/masks/scan.01.png"
    file.write_bytes(file.read_bytes()[:-30])


def _outside(root: Path) -> None:
    file = root / "train/masks/scan.01.png"
    outside = root.parent.parent / "elsewhere.png"
    file.rename(outside)
    file.symlink_to(outside)


BAD_FOLDERS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no folder of masks": (lambda root: (root / "test/masks").rename(root / "labels"), ["test/masks", "no"]),
    "no mask": (lambda root: (root / "train/masks/scan.01.png").unlink(), ["scan.01.png", "have one mask", "none"]),
    "two masks": (
        lambda root: Image.new("L", (16, 16)).save(root / "train/masks/scan.01.bmp"), ["one mask", "scan.01.bmp"]),
    "mask in colour": (_coloured, ["test/masks/scan.01.png", "mode RGB", "one number a pixel"]),
    "mask of another size": (_small, ["train/masks/scan.01.png", "16x16", "8x16"]),
    "mask that breaks off": (_cut, ["train/masks/scan.01.png"]),
    "mask outside of the volume": (_outside, ["must stay inside the volume"]),
    "no image": (lambda root: [file.unlink() for file in (root / "test/images").iterdir()], ["at least one image"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_wrong_folders_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    spoil, expected = BAD_FOLDERS[name]
    spoil(save(tmp_path / "volume" / "set"))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "volume", "set")
    for part in expected:
        assert part in str(caught.value)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set\.npz: does not exist; .* train/masks \(there is nothing\)"):
        read(tmp_path)
    with pytest.raises(DataError, match="the claim data must be mounted"):
        load(task(), None)


def test_a_folder_reads_as_the_arrays_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **arrays())
    save(tmp_path / "set")
    one, other = read(tmp_path, crop=8), read(tmp_path, "set", crop=8)
    assert one.signature == other.signature
    for part in ("weights", "architecture", "selection", "test"):
        first, second = getattr(one, part), getattr(other, part)
        assert torch.equal(first.inputs, second.inputs)
        assert torch.equal(first.targets, second.targets)


def test_no_image_has_tiles_in_two_parts(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **arrays())
    data, again = read(tmp_path, crop=8), read(tmp_path, crop=8)
    numbers = {part: getattr(data, part).inputs[:, 0, 0, 0].tolist() for part in
               ("weights", "architecture", "selection", "test")}  # fmt: skip
    assert {part: len(found) for part, found in numbers.items()} == {
        "weights": 16, "architecture": 16, "selection": 8, "test": 12}  # fmt: skip
    assert sorted(number for found in numbers.values() for number in set(found)) == list(range(13))
    assert set(numbers["test"]) == {10, 11, 12}
    assert torch.equal(data.selection.inputs, again.selection.inputs)
    other = load(task(crop=8), tmp_path, seed=1)
    assert not torch.equal(other.selection.inputs, data.selection.inputs)
    whole = {part: set(numbers[part]) for part in numbers}
    assert all(not whole[one] & whole[two] for one, two in itertools.combinations(whole, 2))


def test_a_tile_has_the_mask_of_its_place(tmp_path: Path) -> None:
    made = arrays()
    np.savez(tmp_path / "set.npz", **made)
    data = read(tmp_path, crop=8)
    image, mask = data.test.inputs[6, 0], data.test.targets[6]  # of the second test image, below and on the left
    assert torch.equal(image, torch.from_numpy(made["test_images"][1, 8:, :8]))
    assert torch.equal(mask.long(), torch.from_numpy(made["test_masks"][1, 8:, :8]))


@pytest.mark.parametrize("percent", [5, 20, 50])
@pytest.mark.parametrize("count", [3, 4, 7, 24])
def test_every_part_has_an_image_and_none_is_lost(count: int, percent: int) -> None:
    parts = split(count, percent, 0, "set")
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(count))
    assert min(len(index) for index in parts.values()) >= 1


def test_a_smaller_image_has_means_and_the_most_frequent_class(tmp_path: Path) -> None:
    made = arrays()
    np.savez(tmp_path / "set.npz", **made)
    data = read(tmp_path, downscale=2)
    assert data.signature.shape == (1, 8, 8)
    expected = made["test_images"][0, :2, 2:4].mean()
    assert int(data.test.inputs[0, 0, 0, 1]) == int(np.rint(expected))
    mask = np.array([[[1, 1, 0, 2, 9], [1, 0, 2, 0, 9], [255, 255, 0, 0, 9], [255, 1, 0, 0, 9]]], dtype=np.uint8)
    assert shrunk_masks(mask, 2, 3).tolist() == [[[1, 0], [255, 0]]]


def test_pixels_without_a_class_are_neither_trained_nor_judged(tmp_path: Path) -> None:
    made = arrays()
    for part in ("train", "test"):
        made[f"{part}_masks"] = made[f"{part}_masks"].copy()
        made[f"{part}_masks"][:, :4] = 7
    np.savez(tmp_path / "set.npz", **made)
    with pytest.raises(DataError, match="class 2 has none"):
        read(tmp_path)
    data = read(tmp_path, ignoredLabel=7)
    assert data.classes == 2
    batch = data.prepare(data.test)
    assert (batch.targets[:, :4] == IGNORED).all()
    outputs = torch.randn(3, 2, 16, 16)
    other = outputs.clone()
    other[:, :, :4] = torch.randn(3, 2, 4, 16)
    assert data.loss(outputs, batch.targets) == data.loss(other, batch.targets)
    assert torch.equal(data.tally(outputs, batch.targets), data.tally(other, batch.targets))
    assert data.loss(outputs, torch.full_like(batch.targets, IGNORED)) == 0


@pytest.fixture
def data(tmp_path: Path) -> MaskData:
    np.savez(tmp_path / "set.npz", **arrays())
    return read(tmp_path, crop=8, training={"batchSize": 8, "augmentation": "FlipRotate"})


def test_the_metrics_are_those_computed_by_hand(data: MaskData) -> None:
    targets = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1]]])
    answers = torch.tensor([[[0, 1, 1, 1], [0, 0, 0, 1]]])
    outputs = functional.one_hot(answers, 2).permute(0, 3, 1, 2).float()
    # Class 0: 3 of 4 found, one too many: 3 / 5; class 1 the same.
    assert data.values(data.tally(outputs, targets)) == pytest.approx({"mIoU": 0.6, "accuracy": 0.75})
    one, two = data.tally(outputs[..., :2], targets[..., :2]), data.tally(outputs[..., 2:], targets[..., 2:])
    assert torch.equal(one + two, data.tally(outputs, targets))
    assert len(one) == data.counts
    right = functional.one_hot(torch.zeros(1, 2, 4, dtype=torch.int64), 2).permute(0, 3, 1, 2).float()
    assert data.values(data.tally(right, torch.zeros(1, 2, 4, dtype=torch.int64)))["mIoU"] == 1  # no class 1 at all
    assert data.loss(outputs, targets) == pytest.approx(float(functional.cross_entropy(outputs, targets)))


def test_image_and_mask_are_changed_alike(data: MaskData) -> None:
    numbers = torch.arange(64, dtype=torch.uint8).view(8, 8)
    many = Split(numbers.expand(400, 1, 8, 8), numbers.expand(400, 8, 8))
    ways = {"None": 1, "Flip": 2, "FlipRotate": 8}
    for augmentation, count in ways.items():
        changed = replace(data, augmentation=augmentation).augmented(many, torch.Generator().manual_seed(0))
        assert isinstance(changed.inputs, torch.Tensor)
        assert torch.equal(changed.inputs[:, 0], changed.targets)
        found = {tuple(mask.flatten().tolist()) for mask in changed.targets}
        assert len(found) == count
    assert tuple(numbers.rot90().flatten().tolist()) in found
    wide = Split(numbers.view(1, 1, 4, 16).expand(400, 1, 4, 16), numbers.view(1, 4, 16).expand(400, 4, 16))
    turned = replace(data, augmentation="FlipRotate").augmented(wide, torch.Generator().manual_seed(0))
    assert len({tuple(mask.flatten().tolist()) for mask in turned.targets}) == 4


def trainer(data: MaskData) -> Trainer:
    torch.manual_seed(0)
    built = network(TRELLIS, TRELLIS.sample(np.random.default_rng(3)), stack="final", signature=data.signature)
    recipe = task(training={"batchSize": 8, "learningRate": "0.1"}).training
    return Trainer(built, data, recipe, epochs=3, seed=1)


def test_training_lowers_the_loss_and_a_resumed_one_is_bit_equal(data: MaskData) -> None:
    whole, before = trainer(data), evaluate(trainer(data).network, data, data.selection)
    while whole.epoch < whole.epochs:
        report = whole.run_epoch(lambda: False)
    assert report is not None
    assert {"mIoU", "accuracy"} == report.values.keys()
    assert evaluate(whole.network, data, data.weights)["loss"] < before["loss"]
    first, second, steps = trainer(data), trainer(data), itertools.count()
    while first.run_epoch(lambda: next(steps) == 6) is not None:
        pass
    tensors, place = first.state()
    second.load(({name: tensor.clone() for name, tensor in tensors.items()}, dict(place)))
    while second.epoch < second.epochs:
        second.run_epoch(lambda: False)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])


def test_an_exported_network_gives_the_same_map(data: MaskData, tmp_path: Path) -> None:
    training = trainer(data)
    training.run_epoch(lambda: False)
    model = Deployed(training.network, data.signature)
    assert isinstance(data.selection.inputs, torch.Tensor)
    assert export_onnx(model, tmp_path / "model.onnx", data.selection.inputs) < 1e-4
    assert model(data.selection.inputs.float()).shape == (8, 2, 8, 8)


@pytest.mark.skipif(not (SHARED / "segmentation").is_dir(), reason=f"there is no {SHARED / 'segmentation'}")
def test_the_membranes_are_read_as_the_example_converts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Path(__file__).parents[2] / "examples" / "data" / "membranes.py"
    source = SHARED / "segmentation" / "isbi2012_membrane_30.npz"
    monkeypatch.setattr("sys.argv", [str(script), str(source), str(tmp_path)])
    exec(compile(script.read_text(), str(script), "exec"), {})
    found = read(tmp_path, "membranes.npz", downscale=4, crop=64)
    assert [len(part) for part in (found.weights, found.architecture, found.selection, found.test)] == [40, 36, 20, 24]
    share = float((found.training.targets == 0).float().mean())
    assert share == pytest.approx(0.21, abs=0.05)
