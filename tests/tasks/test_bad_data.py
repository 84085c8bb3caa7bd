"""Each way in which data can be wrong: the message names the file, what is wrong, the value, and what to do."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from archsearch.api.task import Dataset, ImageClassification, Task, VolumeSource
from archsearch.tasks import DataError, load
from archsearch.tasks import arrays as arrays_module


def read(volume: Path, path: str, percent: int = 20) -> None:
    dataset = Dataset(volume=VolumeSource(claim_name="data", path=path))
    load(Task(image_classification=ImageClassification(dataset=dataset, selection_percent=percent)), volume)


def arrays(**changed: Any) -> dict[str, Any]:
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    good = {"train_images": images, "train_labels": np.arange(30) % 3, "test_images": images[:6],
            "test_labels": np.arange(6) % 3}  # fmt: skip
    return {name: value for name, value in (good | changed).items() if value is not None}


def images(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.zeros(shape, dtype=dtype)


BAD_ARRAYS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "missing array": ({"test_labels": None}, ["has no test_labels", "numpy.savez"]),
    "float images": ({"train_images": images(30, 8, 8, dtype=np.float32)}, ["train_images", "uint8", "float32"]),
    "flat images": ({"train_images": images(30, 64)}, ["train_images", "3 or 4 dimensions", "(30, 64)"]),
    "five dimensions": ({"test_images": images(6, 8, 8, 3, 1)}, ["test_images", "(6, 8, 8, 3, 1)"]),
    "no test images": ({"test_images": images(0, 8, 8), "test_labels": images(0)}, ["test_images", "(0, 8, 8, 1)"]),
    "no training images": (
        {"train_images": images(0, 8, 8), "train_labels": images(0)}, ["train_images", "(0, 8, 8, 1)"]),
    "no height": ({"train_images": images(30, 0, 8)}, ["train_images", "(30, 0, 8, 1)"]),
    "channels first": ({"train_images": images(30, 3, 32, 32)}, ["16 channels", "(30, 3, 32, 32)", ".transpose"]),
    "test images of another size": (
        {"test_images": images(6, 9, 8)}, ["test_images", "(8, 8, 1)", "(9, 8, 1)", "resize"]),
    "test images of another colour": ({"test_images": images(6, 8, 8, 3)}, ["test_images", "(8, 8, 1)", "(8, 8, 3)"]),
    "fewer labels": ({"train_labels": np.arange(29) % 3}, ["train_labels", "30 images", "(29,)"]),
    "one-hot labels": ({"test_labels": images(6, 3)}, ["test_labels", "6 images", "(6, 3)"]),
    "float labels": ({"train_labels": np.zeros(30)}, ["train_labels", "integers", "float64"]),
    "text labels": ({"train_labels": np.array(["cat"] * 30)}, ["train_labels", "integers", "<U3"]),
    "negative label": ({"train_labels": np.arange(30) % 3 - 1}, ["train_labels", "at least 0", "-1"]),
    "huge label": ({"train_labels": np.full(30, 2**63, np.uint64)}, ["train_labels", "below 2^31"]),
    "label far out of range": ({"train_labels": np.r_[np.arange(29) % 3, 10**6]}, ["without gaps", "1000000"]),
    "class without images": ({"train_labels": np.arange(30) % 3 * 2}, ["class 1 has none", "0 to 4"]),
    "one class": ({"train_labels": np.zeros(30, int)}, ["at least 2 classes", "got 1"]),
    "class with 2 images": ({"train_labels": np.r_[np.zeros(28, int), 1, 1]}, ["at least 3", "class 1 has 2"]),
    "test label of no class": ({"test_labels": np.array([0, 1, 2, 0, 1, 3])}, ["test images", "below 3", "got 3"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays(name: str, tmp_path: Path) -> None:
    changed, expected = BAD_ARRAYS[name]
    np.savez(tmp_path / "set.npz", **arrays(**changed))
    with pytest.raises(DataError) as caught:
        read(tmp_path, "set.npz")
    for part in (str(tmp_path / "set.npz"), *expected):
        assert part in str(caught.value)


def test_the_unchanged_arrays_are_good(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **arrays())
    read(tmp_path, "set.npz")


def _objects(file: Path) -> None:
    np.savez(file, **arrays(train_images=np.array([{"a": 1}] * 30, dtype=object)))


def _cut(file: Path) -> None:
    np.savez(file, **arrays())
    file.write_bytes(file.read_bytes()[:-200])


def _flipped(file: Path) -> None:
    np.savez(file, **arrays())
    content = bytearray(file.read_bytes())
    content[700] ^= 255
    file.write_bytes(content)


def _single(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, images(30, 8, 8))


BAD_FILES: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "text": (lambda file: file.write_text("label,pixel\n1,2\n"), ["must be a .npz file", "numpy.savez"]),
    "empty": (lambda file: file.write_bytes(b""), ["must be a .npz file"]),
    "cut short": (_cut, ["must be a .npz file"]),
    "a bit that flipped": (_flipped, ["train_images cannot be read", "CRC"]),
    "Python objects": (_objects, ["train_images cannot be read", "plain arrays"]),
    "a single array": (_single, ["single array", "numpy.savez"]),
    "a pipe": (lambda file: os.mkfifo(file), ["is neither file nor folder", "file or a folder"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(name: str, tmp_path: Path) -> None:
    write, expected = BAD_FILES[name]
    write(tmp_path / "set.npz")
    with pytest.raises(DataError) as caught:
        read(tmp_path, "set.npz")
    for part in (str(tmp_path / "set.npz"), *expected):
        assert part in str(caught.value)


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _header(text: str, *, version: int = 1) -> bytes:
    """The start of a member whose header says this."""
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode() + b"\n"


def _declares(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    return _header(repr({"descr": descr, "fortran_order": False, "shape": shape}))


def _patch(content: bytes, local: int, central: int, value: int) -> bytes:
    """The zip with two bytes set in every header: at `local` of a local one, at `central` of a central one."""
    changed = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        start = changed.find(signature)
        while start >= 0:
            changed[start + offset : start + offset + 2] = value.to_bytes(2, "little")
            start = changed.find(signature, start + 1)
    return bytes(changed)


def _zip(member: bytes, compression: int = zipfile.ZIP_STORED, declared: int | None = None) -> bytes:
    """A set whose train_images are these bytes. declared: their size, as the zip's directory has it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, array in arrays().items():
            archive.writestr(f"{name}.npy", member if name == "train_images" else _npy(array))
        if declared is not None:
            archive.getinfo("train_images.npy").file_size = declared
    return stream.getvalue()


GOOD = _npy(np.zeros((30, 8, 8), np.uint8))
CANNOT = "train_images cannot be read"
BAD_MEMBERS: dict[str, tuple[bytes, list[str]]] = {
    "no array": (_zip(b"hello, I am text"), [CANNOT, "magic string"]),
    "nothing": (_zip(b""), [CANNOT]),
    "a header that is no Python": (_zip(_header("{'descr': (")), [CANNOT]),
    "a header that is no dictionary": (_zip(_header("[1, 2]")), [CANNOT]),
    "a type that does not exist": (_zip(_declares((30, 8, 8), "<q7")), [CANNOT]),
    "a format of the future": (_zip(_header("{}", version=9)), [CANNOT, "1.0 or 2.0, but is 9.0"]),
    "a shape beyond the file": (_zip(_declares((10**12, 32, 32)) + bytes(64)), [CANNOT, "1,024,000,000,000,000 bytes"]),
    "a shape within the file": (_zip(_declares((30, 8, 8)) + bytes(5000)), [CANNOT, "declares 1,920 bytes"]),
    "a negative shape": (_zip(_declares((-30, -8, 8)) + bytes(1920)), [CANNOT]),
    "objects": (_zip(_declares((4,), "|O") + bytes(32)), [CANNOT, "plain arrays"]),
    "Deflate64": (_patch(_zip(GOOD, zipfile.ZIP_DEFLATED), 8, 10, 9), [CANNOT, "compression"]),
    "encryption": (_patch(_zip(GOOD), 6, 8, 1), [CANNOT, "encrypted"]),
    "LZMA that is none": (_zip(GOOD, zipfile.ZIP_LZMA).replace(b"\5\0\x5d", b"\5\0\xff"), [CANNOT, "options"]),
    "Bzip2 that is none": (_patch(_zip(GOOD), 8, 10, zipfile.ZIP_BZIP2), [CANNOT]),
    "more than any machine holds": (
        _zip(GOOD, declared=2**50), ["fit into the memory", "1,073,741,824 MiB", "most of it train_images"]),
    "a name that is no text": (_patch(_zip(GOOD), 6, 8, 0x800).replace(b"train_images", b"\xff" * 12), ["a zip of"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_MEMBERS)
def test_bad_members(name: str, tmp_path: Path) -> None:
    content, expected = BAD_MEMBERS[name]
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path, "set.npz")
    for part in (str(tmp_path / "set.npz"), *expected):
        assert part in str(caught.value)


def test_the_unchanged_members_are_good(tmp_path: Path) -> None:
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        (tmp_path / "set.npz").write_bytes(_zip(GOOD, compression))
        read(tmp_path, "set.npz")


def test_the_containers_limit_counts_where_it_is_below_the_machines_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(arrays_module, "CGROUP_LIMIT", limit)
    (tmp_path / "set.npz").write_bytes(_zip(_npy(np.zeros((30, 256, 256), np.uint8))))
    limit.write_text(f"{2**20}\n")
    with pytest.raises(DataError, match="memory of 1 MiB, but take 1 MiB, most of it train_images"):
        read(tmp_path, "set.npz")
    limit.write_text("max\n")
    with pytest.raises(DataError, match="must have the shape of train_images"):  # it is read now
        read(tmp_path, "set.npz")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good data set of 2 classes with 4 training and 1 test image each."""
    root = tmp_path / "volume" / "set"
    for part, count in (("train", 4), ("test", 1)):
        for name in ("ant", "bee"):
            (root / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{index}.png")
    return root


def _outside(root: Path) -> Path:
    target = root.parent.parent / "secret"
    target.mkdir()
    shutil.copy(root / "train" / "ant" / "0.png", target / "0.png")
    return target


def _break_off(root: Path) -> None:
    file = root / "train" / "bee" / "2.png"
    file.write_bytes(file.read_bytes()[:-40])


def _link_image_out(root: Path) -> None:
    (root / "train" / "ant" / "9.png").symlink_to(_outside(root) / "0.png")


def _link_class_out(root: Path) -> None:
    (root / "train" / "cow").symlink_to(_outside(root))


def _loop(root: Path) -> None:
    (root / "train" / "ant" / "9.png").symlink_to(root / "train" / "ant" / "9.png")


def _huge(root: Path) -> None:
    Image.new("L", (2000, 8)).save(root / "train" / "ant" / "0.png")


def _remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _lead_back(root: Path) -> None:
    (root / "train" / "ant" / "more").mkdir()
    (root / "train" / "ant" / "more" / "again").symlink_to(root / "train" / "ant")


def _link_folder_out(root: Path) -> None:
    (root / "train" / "ant" / "more").symlink_to(_outside(root))


def _sixteen_bits(root: Path) -> None:
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(root / "train" / "ant" / "1.png")


def _floats(root: Path) -> None:
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(root / "test" / "bee" / "0.tiff")


def _postscript(root: Path) -> None:
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n"
    (root / "train" / "ant" / "1.png").write_text(text)


def _pipe(root: Path) -> None:
    os.mkfifo(root / "train" / "ant" / "9.png")


def _empty_class(root: Path) -> None:
    (root / "train" / "cow").mkdir()


BAD_FOLDERS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no test": (lambda root: shutil.rmtree(root / "test"), ["has no test", "train/CLASS"]),
    "no train": (lambda root: shutil.rmtree(root / "train"), ["has no train", "it has test"]),
    "no classes": (
        lambda root: _remove(root / "train" / "ant", root / "train" / "bee"), ["one folder for each class"]),
    "no test classes": (
        lambda root: _remove(root / "test" / "ant", root / "test" / "bee"), ["test", "one folder"]),
    "class without images": (_empty_class, ["train/cow", "has none"]),
    "class in test alone": (lambda root: shutil.rmtree(root / "train" / "bee"), ["test/bee", "no ", "train/bee"]),
    "class with 2 images": (
        lambda root: _remove(root / "train" / "bee" / "0.png", root / "train" / "bee" / "1.png"), ["class 1 has 2"]),
    "images of two sizes": (
        lambda root: Image.new("L", (9, 8)).save(root / "train" / "bee" / "3.png"),
        ["bee/3.png", "8x8", "9x8", "resize all"]),
    "test image of another size": (
        lambda root: Image.new("L", (8, 4)).save(root / "test" / "bee" / "0.png"), ["bee/0.png", "8x8", "8x4"]),
    "huge image": (_huge, ["ant/0.png", "1024 pixels", "2000x8"]),
    "text for an image": (
        lambda root: (root / "train" / "ant" / "1.png").write_text("hello"), ["ant/1.png", "must be an image"]),
    "empty image": (
        lambda root: (root / "train" / "ant" / "1.png").write_bytes(b""), ["ant/1.png", "must be an image"]),
    "image that breaks off": (_break_off, ["bee/2.png", "breaks off"]),
    "image linked from outside": (_link_image_out, ["ant/9.png", "inside the volume", "secret/0.png"]),
    "class linked from outside": (_link_class_out, ["train/cow", "inside the volume"]),
    "loop of links": (_loop, ["ant/9.png", "loop"]),
    "folder linked from outside": (_link_folder_out, ["ant/more", "inside the volume", "secret"]),
    "folder that leads back": (_lead_back, ["ant/more/again", "must not lead back", "train/ant,"]),
    "image of 16 bits": (_sixteen_bits, ["ant/1.png", "8 bits", "mode I;16", "convert it"]),
    "image of floats": (_floats, ["bee/0.tiff", "8 bits", "mode F"]),
    "program for an image": (_postscript, ["ant/1.png", "must be an image, but cannot be read"]),
    "pipe for an image": (_pipe, ["ant/9.png", "no regular file"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_bad_folders(name: str, folder: Path) -> None:
    change, expected = BAD_FOLDERS[name]
    change(folder)
    with pytest.raises(DataError) as caught:
        read(folder.parent, "set")
    for part in (str(folder), *expected):
        assert part in str(caught.value)


def test_the_unchanged_folder_is_good(folder: Path) -> None:
    read(folder.parent, "set")


def test_a_path_that_does_not_exist_says_what_is_there(folder: Path) -> None:
    with pytest.raises(DataError, match=r"cifar10: does not exist.*there is set"):
        read(folder.parent, "cifar10")


def test_a_volume_that_is_not_mounted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: the claim data must be mounted"):
        read(tmp_path / "nowhere", "set")


def test_a_volume_without_a_folder() -> None:
    task = Task(image_classification=ImageClassification(dataset=Dataset(volume=VolumeSource(claim_name="data"))))
    with pytest.raises(DataError, match="the claim data must be mounted"):
        load(task, None)


def test_a_path_that_is_linked_out_of_the_volume(folder: Path) -> None:
    (folder.parent / "away").symlink_to(_outside(folder))
    with pytest.raises(DataError, match=r"away: dataset.volume.path must stay inside the volume.*secret"):
        read(folder.parent, "away")


def test_a_path_with_dots_out_of_the_volume(folder: Path) -> None:
    _outside(folder)
    dataset = Dataset.model_construct(volume=VolumeSource.model_construct(claim_name="data", path="../secret"))
    task = Task.model_construct(image_classification=ImageClassification.model_construct(dataset=dataset))
    with pytest.raises(DataError, match="must stay inside the volume"):
        load(task, folder.parent)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **arrays())
    (tmp_path / "set.npz").chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path, "set.npz")
