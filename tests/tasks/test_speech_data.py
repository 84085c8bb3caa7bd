"""Recordings become log-mel frames; each way in which they can be wrong is told."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from archsearch.api import Space as SpaceSpec
from archsearch.api.sequence_tasks import SpeechClassification
from archsearch.api.task import Task
from archsearch.evaluation import Trainer, evaluate
from archsearch.networks import network
from archsearch.spaces import space_of
from archsearch.tasks import DataError, load
from archsearch.tasks.base import Split
from archsearch.tasks.mel import filters, frame_count, hertz, log_mel, mel
from archsearch.tasks.speech import SpeechData, spec_augment

RATE = 4000
PITCHES = {"high": 1200, "low": 300}
SPACE = space_of(
    SpaceSpec.model_validate(
        {
            "sequenceChain": {
                "stem": {"channels": 8},
                "stages": [{"channels": 8, "layers": 1, "stride": 2}],
                "headChannels": 8,
                "blocks": ["k3e1", "attention"],
            }
        }
    )
)


def settings(**changed: Any) -> SpeechClassification:
    given = {"dataset": {"volume": {"claimName": "data"}}, "seconds": "0.2", "features": {"mels": 10}}
    return SpeechClassification.model_validate(given | changed)


def read(volume: Path, **changed: Any) -> SpeechData:
    found = load(Task(speech_classification=settings(**changed)), volume)
    assert isinstance(found, SpeechData)
    return found


def tone(pitch: float, samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * math.pi * pitch * np.arange(samples) / RATE) + 0.05 * rng.standard_normal(samples)
    return (wave * 2**13).astype(np.int16)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    for part, count in (("train", 12), ("test", 3)):
        for name, pitch in PITCHES.items():
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                wavfile.write(folder / f"{number:02}.wav", RATE, tone(pitch, 500 + 60 * number, number))
    return tmp_path


def test_recordings_are_frames_in_four_parts(volume: Path) -> None:
    data, again = read(volume), read(volume)
    assert [len(part) for part in (data.weights, data.architecture, data.selection, data.test)] == [10, 10, 4, 6]
    given = data.signature.inputs[0]
    assert given.shape == (10, frame_count(800, 100, 40)) == (10, 18)
    assert data.signature.classes == 2
    for part, other in ((data.weights, again.weights), (data.test, again.test)):
        assert torch.equal(part.inputs, other.inputs)  # type: ignore[arg-type]
    whole = data.training.inputs
    assert isinstance(whole, torch.Tensor)
    assert given.mean == pytest.approx(whole.double().mean((0, 2)).tolist())
    prepared = data.prepare(data.training).inputs
    assert isinstance(prepared, torch.Tensor)
    torch.testing.assert_close(prepared.mean((0, 2)), torch.zeros(10), atol=1e-4, rtol=0)
    torch.testing.assert_close(prepared.std((0, 2)), torch.ones(10), atol=1e-2, rtol=0)
    assert json.loads(data.files["classes.json"]) == ["high", "low"]
    assert json.loads(data.files["features.json"]) == {
        "sampleRate": RATE, "seconds": 0.2, "windowMs": 25, "hopMs": 10, "mels": 10, "floor": 1e-6,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32", "stereo"])
def test_every_kind_of_sample_gives_the_same_frames(volume: Path, kind: str) -> None:
    expected = read(volume).test.inputs
    for file in (volume / "test").rglob("*.wav"):
        wave = wavfile.read(file)[1].astype(np.float64) / 2**15
        made = {
            "uint8": np.rint(wave * 127 + 128).astype(np.uint8),
            "int16": np.rint(wave * 2**15).astype(np.int16),
            "int32": (wave * 2**31).astype(np.int32),
            "float32": wave.astype(np.float32),
            "stereo": np.stack([wave * 1.5, wave * 0.5], axis=1).astype(np.float32),
        }
        wavfile.write(file, RATE, made[kind])
    found = read(volume).test.inputs
    # Of 8 bits is left what is loud.
    assert isinstance(found, torch.Tensor)
    assert isinstance(expected, torch.Tensor)
    loud = expected > 0 if kind == "uint8" else torch.ones_like(expected, dtype=torch.bool)
    torch.testing.assert_close(found[loud], expected[loud], atol=0.5 if kind == "uint8" else 2e-2, rtol=0)


def test_the_mel_scale_is_that_of_htk() -> None:
    # 2595 log10(1 + 700/700) = 2595 log10 2; 1000 Hz are 1000 mel by definition, nearly.
    assert mel(700) == pytest.approx(781.1728)
    assert mel(1000) == pytest.approx(999.9855, abs=1e-3)
    assert [hertz(mel(value)) for value in (0.0, 440.0, 4000.0)] == pytest.approx([0, 440, 4000])


def test_filters_are_triangles_evenly_apart_in_pitch() -> None:
    bank = filters(8000, 16, 2)
    # Half of 8,000 Hz is 2146.06 mel; the corners are at thirds: 0, 620.58, 1791.3 and 4000 Hz.
    assert [hertz(mel(4000) * part / 3) for part in (1, 2)] == pytest.approx([620.58, 1791.3], abs=0.1)
    low, high = hertz(mel(4000) / 3), hertz(2 * mel(4000) / 3)
    assert bank.shape == (2, 9)  # 0, 500, ..., 4000 Hz
    assert bank[0].tolist() == pytest.approx(
        [0, 500 / low, *((high - f) / (high - low) for f in (1000, 1500)), 0, 0, 0, 0, 0], abs=1e-12
    )
    assert bank[1, 2] == pytest.approx((1000 - low) / (high - low))
    assert bank[1, 6] == pytest.approx((4000 - 3000) / (4000 - high))


def test_the_frames_of_a_tone_are_loudest_in_its_band() -> None:
    wave = torch.from_numpy(tone(1000, 4000).astype(np.float32)) / 2**15
    found = log_mel(wave[None], RATE, window=100, hop=40, mels=12)
    assert found.shape == (1, 12, 98)
    centres = [hertz(mel(RATE / 2) * at / 13) for at in range(1, 13)]
    nearest = min(range(12), key=lambda band: abs(mel(centres[band]) - mel(1000)))
    assert (found[0].argmax(0) == nearest).all()
    # Twice as loud is 2 log 2 more.
    louder = log_mel(2 * wave[None], RATE, window=100, hop=40, mels=12)
    torch.testing.assert_close(
        louder[0, nearest] - found[0, nearest], torch.full((98,), 2 * math.log(2)), rtol=1e-3, atol=1e-3
    )
    assert torch.isfinite(log_mel(torch.zeros(1, 400), RATE, window=100, hop=40, mels=12)).all()


def test_spec_augment_moves_and_silences() -> None:
    frames = torch.arange(2000 * 10 * 20, dtype=torch.float32).reshape(2000, 10, 20) + 1
    made = spec_augment(frames, torch.Generator().manual_seed(0))
    assert torch.equal(made, spec_augment(frames, torch.Generator().manual_seed(0)))
    assert not torch.equal(made, spec_augment(frames, torch.Generator().manual_seed(1)))
    quiet = frames.amin((1, 2), keepdim=True)
    silent = made == quiet
    assert 0.1 < float(silent.double().mean()) < 0.35
    # What is left is as it was, at most a tenth of the steps further.
    moved = ((made - frames) % 20)[~silent]
    assert set(moved.unique().tolist()) <= {0.0, 1.0, 2.0, 18.0, 19.0}
    assert int(silent.all(2).sum(1).max()) == 2  # bands, of 10
    assert int(silent.all(1).sum(1).max()) == 4 + 2  # steps, of 20, and those from outside


def test_metrics_are_the_shares_of_right_and_wrong_answers(volume: Path) -> None:
    data = read(volume)
    tally = data.tally(torch.eye(2)[torch.tensor([0, 1, 1, 0])], torch.tensor([0, 1, 0, 0]))
    assert data.values(tally) == {"accuracy": 0.75, "errorRate": 0.25}
    batch = Split(data.test.inputs, data.test.targets)
    assert read(volume, training={"augmentation": "None"}).augmented(batch, torch.Generator()) is batch


def test_training_lowers_the_loss(volume: Path) -> None:
    data, recipe = read(volume), settings(training={"batchSize": 10, "learningRate": "0.01"}).training
    torch.manual_seed(0)
    built = network(SPACE, SPACE.at(0), stack="final", signature=data.signature)
    trainer = Trainer(built, data, recipe, epochs=8, seed=1)
    before = evaluate(built, data, data.test)
    for _ in range(8):
        trainer.run_epoch(lambda: False)
    after = evaluate(built, data, data.test)
    assert after["loss"] < before["loss"]
    assert after["accuracy"] == 1 - after["errorRate"]


def spoil(content: bytes | tuple[int, np.ndarray]) -> Callable[[Path], object]:
    def change(volume: Path) -> None:
        file = volume / "train" / "low" / "03.wav"
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            wavfile.write(file, *content)

    return change


HEADER = b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 85, 1, RATE, RATE, 1, 8)
BAD: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no test": (lambda v: (v / "test").rename(v / "tests"), ["train/CLASS and test/CLASS", "has no test"]),
    "no classes": (
        lambda v: [(v / "test" / name).rename(v / name) for name in PITCHES],
        ["test: must hold one folder", "recordings"],
    ),
    "an empty class": (
        lambda v: [file.unlink() for file in (v / "test" / "low").iterdir()],
        ["low: must hold at least one recording"],
    ),
    "an unknown class": (lambda v: (v / "test/low").rename(v / "test/deep"), ["'deep' is only among the test"]),
    "a small class": (
        lambda v: [file.unlink() for file in sorted((v / "train/low").iterdir())[2:]], ["'low' has 2", "recordings"]),
    "no WAV": (spoil(b"ID3 what is in here is music"), ["03.wav: must be a WAV file", "convert it"]),
    "compressed": (spoil(HEADER + b"data" + struct.pack("<I", 4) + b"1234"), ["03.wav: must be a WAV file with PCM"]),
    "cut short": (spoil(HEADER[:20]), ["03.wav: must be a WAV file"]),
    "empty": (spoil((RATE, np.zeros(0, np.int16))), ["03.wav: must have samples, but has 0"]),
    "another rate": (spoil((8000, tone(300, 900))), ["one sample rate, 4000 Hz", "00.wav", "8000 Hz", "resample"]),
    "too long": (spoil((RATE, tone(300, 61 * RATE))), ["at most 60 seconds, but has 61.0"]),
    "no numbers": (spoil((RATE, np.full(900, np.nan, np.float32))), ["03.wav: samples must be numbers"]),
    "64 bits": (spoil((RATE, np.zeros(900, np.int64))), ["03.wav: must have samples of", "int64"]),
    "a link out": (
        lambda v: ((v / "test/low/00.wav").unlink(), (v / "test/low/00.wav").symlink_to("/etc/passwd")),
        ["00.wav: a recording must stay inside the volume"],
    ),
    "no folder": (lambda v: [(v / part).rename(v / f"{part}s") for part in ("train", "test")], ["has no train"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_recordings_that_cannot_be_used_are_told(volume: Path, name: str) -> None:
    change, said = BAD[name]
    change(volume)
    with pytest.raises(DataError) as caught:
        read(volume)
    assert not [words for words in said if words not in str(caught.value)], str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seconds": "0.01"}, "seconds must be at least features.windowMs"),
        ({"seconds": "61"}, "seconds must be at most 60, but is 61"),
        ({"features": {"mels": 60}}, "lower features.mels"),
        ({"features": {"hopMs": 2, "windowMs": 5, "mels": 12}, "seconds": "0.2"}, "windowMs must have at least two"),
    ],
)
def test_settings_that_do_not_fit_the_recordings_are_told(volume: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(volume, **changed)


def test_recordings_larger_than_the_memory_are_not_read(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archsearch.tasks.waves.available_memory", lambda: 40_000)
    with pytest.raises(DataError, match="must fit into the memory"):
        read(volume)
