"""Images with boxes: each wrong way named, split, places that learn a box, COCO's metrics, trained, exported."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from archsearch.api import Space as SpaceSpec
from archsearch.api.task import Task
from archsearch.evaluation import Trainer, evaluate
from archsearch.hardware import Deployed, export_onnx
from archsearch.networks import network
from archsearch.spaces import space_of
from archsearch.tasks import BoxData, DataError, Split, load
from archsearch.tasks.detection import assigned, centres, found

SHARED = Path(os.environ.get("ARCHSEARCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
STAGES = [{"channels": 8, "layers": 1}] * 4
PYRAMID = space_of(SpaceSpec.model_validate({"featurePyramid": {"stages": STAGES, "nodes": 3, "pyramidChannels": 16}}))
Json = dict[str, Any]


def task(path: str = "set", **settings: Any) -> Task:
    dataset = {"volume": {"claimName": "data", "path": path}}
    return Task.model_validate({"objectDetection": {"dataset": dataset, **settings}})


def read(volume: Path, path: str = "set", **settings: Any) -> BoxData:
    data = load(task(path, **settings), volume)
    assert isinstance(data, BoxData)
    return data


def save(root: Path) -> Path:
    """A bright square (id 7) or a dark one (id 3) in each grey image of 64x48, whose corner has its number."""
    (root / "images").mkdir(parents=True)
    for part, numbers in (("train", range(10)), ("test", range(10, 13))):
        images, boxes = [], []
        for number in numbers:
            pixels = np.full((48, 64), 100, dtype=np.uint8)
            left, top = 4 + 3 * number, 30 - 2 * number
            pixels[top : top + 16, left : left + 16] = 250 if number % 2 else 0
            pixels[0, 0] = number
            Image.fromarray(pixels).save(root / "images" / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48})
            boxes.append({"image_id": number, "category_id": 7 if number % 2 else 3, "bbox": [left, top, 16, 16]})
        categories = [{"id": 7, "name": "bright"}, {"id": 3, "name": "dark"}]
        content = {"images": images, "annotations": boxes, "categories": categories}
        (root / f"{part}.json").write_text(json.dumps(content))
    return root


def edited(part: str, change: Callable[[Json], Any]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        content = json.loads((root / f"{part}.json").read_text())
        change(content)
        (root / f"{part}.json").write_text(json.dumps(content))

    return edit


def put(name: str, at: int, field: str, value: Any) -> Callable[[Json], None]:
    return lambda content: content[name][at].update({field: value})


def _other_size(root: Path) -> None:
    Image.new("L", (32, 48)).save(root / "images" / "2.png")
    edited("train", put("images", 2, "width", 32))(root)


BAD: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no test part": (lambda root: (root / "test.json").unlink(), ["test.json", "does not exist"]),
    "no JSON": (lambda root: (root / "train.json").write_text("{"), ["train.json", "must be JSON"]),
    "no images": (edited("train", lambda c: c.pop("images")), ["train.json", "images", "Field required"]),
    "a name that is a number": (edited("test", put("images", 0, "file_name", 5)), ["images.0.file_name", "5"]),
    "a box of three numbers": (edited("train", put("annotations", 4, "bbox", [1, 2, 3])), ["annotations.4.bbox.3"]),
    "a box that is no number": (edited("train", put("annotations", 4, "bbox", [1, 2, 3, "x"])), ["annotations.4.bbox"]),
    "a box that is infinite": (edited("train", put("annotations", 4, "bbox", [1, 2, 3, 1e999])), ["annotations.4"]),
    "a box without width": (edited("train", put("annotations", 4, "bbox", [1, 2, 0, 3])), ["4.bbox", "[1.0, 2.0, 0.0"]),
    "a box outside": (edited("test", put("annotations", 1, "bbox", [60, 2, 8, 3])), ["1.bbox", "64x48", "60.0"]),
    "a box of no image": (edited("train", put("annotations", 0, "image_id", 99)), ["annotations.0.image_id", "99"]),
    "a box of no category": (edited("test", put("annotations", 0, "category_id", 1)), ["category_id", "3, 7", "got 1"]),
    "an image twice": (edited("train", put("images", 1, "id", 0)), ["images", "0 is there twice"]),
    "a category without boxes": (
        edited("train", lambda c: c["categories"].append({"id": 9, "name": "odd"})), ["odd (id 9) has none"]),
    "an image that is not there": (lambda root: (root / "images/3.png").unlink(), ["3.png", "no regular file"]),
    "an image outside": (edited("train", put("images", 0, "file_name", "../../../x.png")), ["inside the volume"]),
    "an image that is text": (lambda root: (root / "images/3.png").write_text("x"), ["3.png", "must be an image"]),
    "an image of another size": (edited("train", put("images", 3, "width", 65)), ["3.png", "65x48", "64x48"]),
    "images of two sizes": (_other_size, ["one size, 64x48", "32x48", "width and height"]),
    "two images": (
        edited("train", lambda c: (c.update(images=c["images"][:2], annotations=c["annotations"][:2]))),
        ["train.json", "at least 3", "got 2"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named(name: str, tmp_path: Path) -> None:
    spoil, expected = BAD[name]
    spoil(save(tmp_path / "volume" / "set"))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "volume")
    for part in expected:
        assert part in str(caught.value)


@pytest.fixture
def data(tmp_path: Path) -> BoxData:
    save(tmp_path / "set")
    return read(tmp_path, training={"batchSize": 4})


def test_parts_share_no_image_and_boxes_are_those_of_their_images(data: BoxData, tmp_path: Path) -> None:
    numbers = {}
    for name in ("weights", "architecture", "selection", "test"):
        part = getattr(data, name)
        numbers[name] = part.inputs[:, 0, 0, 0].tolist()
        for number, boxes in zip(numbers[name], part.targets, strict=True):
            left, top = 4 + 3 * number, 30 - 2 * number
            assert boxes.tolist() == [[float(number % 2), left, top, left + 16, top + 16]]
    assert {name: len(found) for name, found in numbers.items()} == {
        "weights": 4, "architecture": 4, "selection": 2, "test": 3}  # fmt: skip
    assert sorted(itertools.chain(*numbers.values())) == list(range(13))
    assert torch.equal(read(tmp_path).selection.inputs, data.selection.inputs)
    assert data.signature.outputs == "Boxes"
    assert data.classes == 2


def test_images_and_boxes_are_resized_and_crowds_left_out(tmp_path: Path) -> None:
    root = save(tmp_path / "set")
    _other_size(root)
    edited("test", lambda c: c["annotations"].append({**c["annotations"][0], "iscrowd": 1, "bbox": [0, 0, 9, 9]}))(root)
    edited("test", put("annotations", 1, "bbox", [-0.5, 3, 10.5, 45.5]))(root)
    edited("train", lambda c: c["annotations"].pop(2))(root)
    read_ = read(tmp_path, width=128, height=96)
    assert read_.signature.shape == (1, 96, 128)
    assert read_.test.targets[0].tolist() == [[0, 68, 20, 100, 52]]
    assert read_.test.targets[1].tolist() == [[1, 0, 6, 20, 96]]
    everything = torch.cat([read_.training.targets, read_.selection.targets])
    assert int((everything[..., 0] == -1).sum()) == 1


def test_places_near_the_centre_of_a_box_learn_it_at_the_level_of_its_size(data: BoxData) -> None:
    signature = data.signature
    centre, stride = centres(signature)
    assert [int((stride == one).sum()) for one in (8, 16, 32)] == [6 * 8, 3 * 4, 2 * 2]
    assert centre[48 + 1].tolist() == [24, 8]  # the second place of the second level
    targets = torch.tensor([[[0, 8, 8, 40, 40], [1, 22, 22, 26, 26], [0, 0, 0, 64, 48], [-1, 0, 0, 0, 0.0]]])
    owner = assigned(signature, targets)[0]
    own = {box: centre[owner == box].tolist() for box in range(3)}
    assert set(stride[owner == 0].tolist()) == set(stride[owner == 1].tolist()) == {8.0}
    assert sorted(own[1]) == [[20, 20], [20, 28], [28, 20], [28, 28]]  # none is inside, all are nearest
    assert len(own[0]) == 12  # within 12 pixels of (24, 24), without the four of the smaller box
    assert set(stride[owner == 2].tolist()) == {16.0}
    assert owner.max() == 2


def perfect(data: BoxData, targets: torch.Tensor, strength: float = 12.0) -> torch.Tensor:
    """Outputs that are right at every place."""
    owner = assigned(data.signature, targets)
    own = targets.gather(1, owner.clamp(min=0)[..., None].expand(-1, -1, 5))
    right = torch.nn.functional.one_hot(own[..., 0].long().clamp(min=0), data.classes) * (owner >= 0)[..., None]
    return torch.cat([own[..., 1:], (right.float() - 0.5) * 2 * strength], dim=2)


def test_right_boxes_have_a_precision_of_one_and_no_loss(data: BoxData) -> None:
    meter = data.meter()
    for part in (data.test, data.selection):
        outputs = perfect(data, part.targets)
        meter.add(lambda _, outputs=outputs: outputs, data.prepare(part))
    values = meter.values()
    assert list(values) == ["mAP", "mAP50", "loss"]
    assert values == pytest.approx({"mAP": 1.0, "mAP50": 1.0, "loss": 0.0}, abs=1e-3)


def test_the_precision_is_the_one_computed_by_hand(data: BoxData) -> None:
    outputs = perfect(data, data.test.targets)
    outputs[:, :, :4] += torch.tensor([4.0, 0.0, 4.0, 0.0])  # overlaps of 12 / 20 = 0.6: two or three of ten thresholds
    outputs[1, :, 4:] = -12  # one of two dark or of one bright is not found
    meter = data.meter()
    meter.add(lambda _: outputs, data.prepare(data.test))
    values = meter.values()
    bright = [int(one) for one in data.test.targets[:, 0, 0]]  # 10, 11, 12: dark, bright, dark
    assert bright == [0, 1, 0]
    assert values["mAP50"] == pytest.approx((1.0 + 0.0) / 2)
    assert values["mAP"] in (pytest.approx(0.5 * 2 / 10), pytest.approx(0.5 * 3 / 10))  # 0.6 is 0.6 or a little less


def test_nothing_found_is_worth_nothing(data: BoxData) -> None:
    outputs = torch.full((3, 64, 6), -12.0)
    meter = data.meter()
    meter.add(lambda _: outputs, data.prepare(data.test))
    assert meter.values()["mAP"] == 0
    boxes, scores, labels = found(outputs[0])
    assert len(boxes) == len(scores) == len(labels) == 0


def test_the_loss_falls_with_better_boxes_and_takes_images_without_any(data: BoxData) -> None:
    targets = data.test.targets
    right = perfect(data, targets)
    moved, unsure = right.clone(), perfect(data, targets, 0.5)
    moved[..., :4] += 3
    assert data.loss(right, targets) < data.loss(moved, targets)
    assert data.loss(right, targets) < data.loss(unsure, targets)
    assert data.reward(right, targets) == -float(data.loss(right, targets))
    nothing = torch.full_like(targets, -1)
    outputs = right.clone().requires_grad_()
    data.loss(outputs, nothing).backward()
    assert torch.isfinite(outputs.grad).all()
    assert data.values(data.tally(right, targets)) == {}
    with pytest.raises(NotImplementedError, match="cannot learn from another"):
        data.imitation(right, right)


def test_of_boxes_that_overlap_the_best_of_each_class_is_kept() -> None:
    box = torch.tensor([10.0, 10, 30, 30])
    outputs = torch.stack([
        torch.cat([box, torch.tensor([2.0, -9])]), torch.cat([box + 1, torch.tensor([3.0, -9])]),
        torch.cat([box, torch.tensor([-9.0, 1])]), torch.cat([box + 40, torch.tensor([-9.0, -4])]),
    ])  # fmt: skip
    boxes, scores, labels = found(outputs)
    assert labels.tolist() == [0, 1]
    assert boxes.tolist() == [(box + 1).tolist(), box.tolist()]
    assert scores.tolist() == pytest.approx(torch.tensor([3.0, 1]).sigmoid().tolist())


def test_image_and_boxes_are_mirrored_alike(data: BoxData) -> None:
    many = Split(data.test.inputs[:1].expand(200, -1, -1, -1), data.test.targets[:1].expand(200, -1, -1))
    changed = replace(data, augmentation="Flip").augmented(many, torch.Generator().manual_seed(0))
    seen = set()
    assert isinstance(changed.inputs, torch.Tensor)
    for image, boxes in zip(changed.inputs, changed.targets, strict=True):
        label, *sides = boxes[0].tolist()
        left, top, right, bottom = map(int, sides)
        assert label == 0
        assert int(image[0, top:bottom, left:right].max()) == 0  # the dark square
        seen.add(left)
    assert seen == {34, 64 - 50}
    assert replace(data, augmentation="None").augmented(many, torch.Generator()) is many


def trainer(data: BoxData, epochs: int = 3) -> Trainer:
    torch.manual_seed(0)
    built = network(PYRAMID, PYRAMID.sample(np.random.default_rng(3)), stack="search", signature=data.signature)
    recipe = task(training={"batchSize": 4, "optimizer": "AdamW", "learningRate": "0.005"}).training
    return Trainer(built, data, recipe, epochs=epochs, seed=1)


def test_training_lowers_the_loss_and_a_resumed_one_is_bit_equal(data: BoxData) -> None:
    whole, losses = trainer(data), []
    while whole.epoch < whole.epochs:
        report = whole.run_epoch(lambda: False)
        assert report is not None
        assert report.values == {}
        losses.append(report.loss)
    assert losses[-1] < losses[0]
    assert evaluate(whole.network, data, data.selection).keys() == {"mAP", "mAP50", "loss"}
    first, second, steps = trainer(data), trainer(data), itertools.count()
    while first.run_epoch(lambda: next(steps) == 3) is not None:
        pass
    tensors, place = first.state()
    second.load(({name: tensor.clone() for name, tensor in tensors.items()}, dict(place)))
    while second.epoch < second.epochs:
        second.run_epoch(lambda: False)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])


def test_an_exported_network_finds_the_same_boxes(data: BoxData, tmp_path: Path) -> None:
    training = trainer(data)
    training.run_epoch(lambda: False)
    model = Deployed(training.network, data.signature)
    assert isinstance(data.selection.inputs, torch.Tensor)
    with torch.no_grad():
        largest = float(model.eval()(data.selection.inputs).abs().max())
    assert export_onnx(model, tmp_path / "model.onnx", data.selection.inputs) < 1e-4 * max(1.0, largest)


@pytest.mark.skipif(not (SHARED / "detection").is_dir(), reason=f"there is no {SHARED / 'detection'}")
def test_the_blood_cells_are_read_as_the_example_converts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Path(__file__).parents[2] / "examples" / "data" / "blood_cells.py"
    monkeypatch.setattr("sys.argv", [str(script), str(SHARED / "detection" / "bccd_half.npz"), str(tmp_path)])
    exec(compile(script.read_text(), str(script), "exec"), {})
    cells = read(tmp_path, "cells", width=160, height=120)
    sizes = [len(part) for part in (cells.weights, cells.architecture, cells.selection, cells.test)]
    assert sizes == [117, 117, 58, 72]
    boxes = torch.cat([part.targets for part in (cells.training, cells.selection, cells.test)])
    assert torch.bincount(boxes[boxes[..., 0] >= 0][:, 0].long()).tolist() == [4153, 372, 361]
