"""Splits are disjoint, stratified and the same for every trial; normalisation comes from the trained images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from archsearch.api.task import Dataset, ImageClassification, Task, VolumeSource
from archsearch.networks.inputs import normalise
from archsearch.tasks import ImageData, load
from archsearch.tasks.augment import Augmentation, augment
from archsearch.tasks.image import split

DIGITS = Task(image_classification=ImageClassification(dataset=Dataset(builtin="digits")))


def volume_task(path: str, **settings: int) -> Task:
    dataset = Dataset(volume=VolumeSource(claim_name="data", path=path))
    return Task(image_classification=ImageClassification(dataset=dataset, **settings))


def numbered_images(count: int, *, channels: int | None = None, first: int = 0) -> np.ndarray:
    """Images (N, 8, 8[, C]) uint8 that can be told apart: each holds its own number in its first two pixels."""
    images = np.zeros((count, 8, 8) if channels is None else (count, 8, 8, channels), dtype=np.uint8)
    numbers = np.arange(first, first + count)
    images[:, 0, 0] = (numbers // 256).reshape(-1, *[1] * (images.ndim - 3))
    images[:, 0, 1] = (numbers % 256).reshape(-1, *[1] * (images.ndim - 3))
    return images


def numbers(images: torch.Tensor) -> list[int]:
    return (images[:, 0, 0, 0].long() * 256 + images[:, 0, 0, 1].long()).tolist()


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load(DIGITS, None)


def test_digits_are_the_1797_of_scikit_learn_in_four_parts(digits: ImageData) -> None:
    assert digits.signature.shape == (1, 8, 8)
    assert digits.classes == 10
    sizes = {name: len(getattr(digits, name)) for name in ("weights", "architecture", "selection", "test")}
    assert sizes == {"weights": 577, "architecture": 574, "selection": 287, "test": 359}
    assert sum(sizes.values()) == 1797
    assert digits.weights.inputs.dtype == torch.uint8
    assert int(digits.training.inputs.max()) == 255


def test_each_part_of_the_digits_has_a_tenth_of_every_class(digits: ImageData) -> None:
    for part in (digits.weights, digits.architecture, digits.selection, digits.test):
        counts = torch.bincount(part.targets, minlength=10)
        assert int(counts.max() - counts.min()) <= 5  # the source has 174 to 183 of a class


def test_the_split_is_the_same_every_time_and_another_with_another_seed(digits: ImageData) -> None:
    again, other = load(DIGITS, None), load(DIGITS, None, seed=1)
    assert torch.equal(again.selection.inputs, digits.selection.inputs)
    assert not torch.equal(other.selection.inputs, digits.selection.inputs)
    assert torch.equal(other.test.inputs, digits.test.inputs)


@pytest.mark.parametrize("percent", [5, 20, 50])
@pytest.mark.parametrize("counts", [(3, 3), (4, 7, 100), (10, 11, 12, 13), (500, 3)])
def test_parts_share_no_image_and_leave_none_out(percent: int, counts: tuple[int, ...]) -> None:
    labels = np.random.default_rng(7).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = split(labels, percent, 0)
    everything = np.concatenate(list(parts.values()))
    assert sorted(everything.tolist()) == list(range(len(labels)))
    for label, count in enumerate(counts):
        by_part = {name: int((labels[index] == label).sum()) for name, index in parts.items()}
        assert min(by_part.values()) >= 1
        assert abs(by_part["weights"] - by_part["architecture"]) <= 1
        assert by_part["selection"] == pytest.approx(count * percent / 100, abs=1)


def test_no_image_of_a_file_is_in_two_parts(tmp_path: Path) -> None:
    labels, test_labels = np.arange(600) % 3, np.arange(90) % 3
    np.savez(tmp_path / "set.npz", train_images=numbered_images(600), train_labels=labels,
             test_images=numbered_images(90, first=600), test_labels=test_labels)  # fmt: skip
    data = load(volume_task("set.npz", selection_percent=10), tmp_path)
    found = {name: numbers(getattr(data, name).inputs) for name in ("weights", "architecture", "selection", "test")}
    assert {name: len(values) for name, values in found.items()} == {
        "weights": 270, "architecture": 270, "selection": 60, "test": 90}  # fmt: skip
    assert len({number for values in found.values() for number in values}) == 690
    for part in (data.weights, data.architecture, data.selection):
        assert part.targets.tolist() == [labels[number] for number in numbers(part.inputs)]


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_an_npz_file_may_be_grey_or_coloured_and_labels_may_be_a_column(tmp_path: Path, channels: int | None) -> None:
    labels = (np.arange(60) % 2).astype(np.uint8)[:, None]
    np.savez_compressed(tmp_path / "set.npz", train_images=numbered_images(60, channels=channels), train_labels=labels,
                        test_images=numbered_images(10, channels=channels), test_labels=labels[:10])  # fmt: skip
    data = load(volume_task("set.npz"), tmp_path)
    assert data.signature.shape == (channels or 1, 8, 8)
    assert data.weights.targets.dtype == torch.int64
    assert data.weights.targets.shape == (24,)


def test_channels_come_first_in_memory(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 9, 3), dtype=np.uint8)
    labels = np.arange(40) % 2
    np.savez(tmp_path / "set.npz", train_images=images, train_labels=labels, test_images=images[:7],
             test_labels=labels[:7])  # fmt: skip
    data = load(volume_task("set.npz"), tmp_path)
    assert data.signature.shape == (3, 6, 9)
    assert torch.equal(data.test.inputs, torch.from_numpy(images[:7]).permute(0, 3, 1, 2))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("P", 3), ("RGBA", 3)])
def test_a_folder_of_images(tmp_path: Path, mode: str, channels: int) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 5), ("test", 2)):
        for name in ("ant", "bee"):
            (tmp_path / "set" / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (8, 10), dtype=np.uint8)
                image = Image.fromarray(pixels).convert(mode)
                image.save(tmp_path / "set" / part / name / f"{index}.png")
    (tmp_path / "set" / "train" / "ant" / "notes.txt").write_text("not an image")
    data = load(volume_task("set"), tmp_path)
    assert data.signature.shape == (channels, 8, 10)
    assert data.classes == 2
    assert len(data.training) + len(data.selection) == 10
    assert data.test.targets.tolist() == [0, 0, 1, 1]


def test_a_class_is_all_that_is_below_its_folder(tmp_path: Path) -> None:
    paths = ("0.png", "by/day/1.png", "by/night/2.png", "by/3.png", "dir.png/4.png")
    for part in ("train", "test"):
        for label, name in enumerate(("ant", "bee")):
            for number, path in enumerate((*paths, ".cache/5.png", "by/.6.png")):
                file = tmp_path / "set" / part / name / path
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (4, 4), label * 100 + number).save(file)
    (tmp_path / "set" / "train" / "bee" / "linked").symlink_to(tmp_path / "set" / "train" / "ant" / "by" / "day")
    data = load(volume_task("set"), tmp_path)
    assert sorted(data.test.inputs[:, 0, 0, 0].tolist()) == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]
    assert data.test.targets.tolist() == [0] * 5 + [1] * 5
    everything = [*data.training.inputs, *data.selection.inputs]
    assert sorted(int(image[0, 0, 0]) for image in everything) == [0, 1, 1, 2, 3, 4, 100, 101, 102, 103, 104]


def test_links_inside_the_volume_are_followed(tmp_path: Path) -> None:
    labels = np.arange(40) % 2
    np.savez(tmp_path / "real.npz", train_images=numbered_images(40), train_labels=labels,
             test_images=numbered_images(4), test_labels=labels[:4])  # fmt: skip
    (tmp_path / "set.npz").symlink_to("real.npz")
    assert load(volume_task("set.npz"), tmp_path).signature.shape == (1, 8, 8)


def test_normalised_training_images_have_mean_0_and_deviation_1(digits: ImageData) -> None:
    images = digits.prepare(digits.training).inputs
    assert float(images.mean()) == pytest.approx(0, abs=1e-5)
    assert float(images.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert digits.signature.inputs[0].mean[0] == pytest.approx(float(digits.training.inputs.double().mean()), rel=1e-12)


def test_the_moments_are_those_of_each_channel_of_the_trained_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (3000, 4, 4, 2), dtype=np.uint8)  # more than are summed at once
    images[..., 1] = 9
    labels = np.arange(3000) % 2
    np.savez(tmp_path / "set.npz", train_images=images, train_labels=labels, test_images=images[:2],
             test_labels=labels[:2])  # fmt: skip
    data = load(volume_task("set.npz"), tmp_path)
    first = data.training.inputs[:, 0].double()
    assert data.signature.inputs[0].mean == pytest.approx((float(first.mean()), 9.0), rel=1e-12)
    assert data.signature.inputs[0].std == pytest.approx((float(first.std(correction=0)), 1.0), rel=1e-9)
    assert torch.isfinite(data.prepare(data.test).inputs).all()


def test_shift_crops_what_an_eighth_of_padding_allows() -> None:
    images = torch.zeros(2000, 1, 16, 16)
    images[:, 0, 8, 8] = 1
    moved = augment(images, "Shift", torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    positions = moved.flatten(1).argmax(1)
    rows, columns = positions // 16, positions % 16
    assert sorted(set(rows.tolist())) == [6, 7, 8, 9, 10]  # padding of 2 pixels
    assert sorted(set(columns.tolist())) == [6, 7, 8, 9, 10]
    assert int((rows != columns).sum()) > 1000


def test_shift_never_mirrors_and_shift_flip_mirrors_half() -> None:
    image = torch.arange(64.0).view(1, 1, 8, 8).expand(1000, 1, 8, 8) + 1
    shares: dict[Augmentation, float] = {"Shift": 0.0, "ShiftFlip": 0.5}
    for augmentation, share in shares.items():
        moved = augment(image, augmentation, torch.Generator().manual_seed(1))
        centre = moved[:, 0, 4]
        mirrored = (centre[:, 3] > centre[:, 4]).float().mean()
        assert float(mirrored) == pytest.approx(share, abs=0.05)


def test_augmentation_follows_its_generator() -> None:
    images = torch.rand(32, 3, 8, 8)
    one, same, other = (augment(images, "ShiftFlip", torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert augment(images, "None", torch.Generator()) is images


def test_normalise_takes_images_of_0_to_255() -> None:
    assert normalise(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), (127.5,), (63.75,)).item() == 2.0
