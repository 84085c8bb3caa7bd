"""Every kind of work on questions about images, whose splits hold the places of images and not the images."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np
import onnxruntime
import pytest
from conftest import Workplace
from PIL import Image
from question_data import task, write
from tokenizers import Tokenizer

TRAINING = {"optimizer": "AdamW", "learningRate": "0.01", "batchSize": 16}
SIZES = {"channels": 4, "width": 8}
SPACE = {"fusionNetwork": {"imageLayers": 2, "questionLayers": 2, "search": SIZES, "final": SIZES | {"width": 32}}}
ARCHITECTURE = {
    "0/image": 0, "0/question": 1, "0/operator": "film", "1/image": 1, "1/question": 0, "1/operator": "concat_fc",
}  # fmt: skip


@pytest.fixture
def questions(workplace: Workplace) -> dict[str, Any]:
    """What documents have in common."""
    write(workplace.root / "data" / "small", counts=(60, 30))
    return {
        "task": task(training=TRAINING).wire(),
        "space": SPACE,
        "paths": {"scratch": str(workplace.root), "data": str(workplace.root / "data")},
    }


def result(workplace: Workplace, kind: str, questions: dict[str, Any], **changed: Any) -> Any:
    ending = workplace.run(workplace.document(kind, **questions | changed))
    assert ending.code == 0, (ending.text, ending.log)
    return ending.message


def test_preflight_sees_the_supernet_and_the_parts(workplace: Workplace, questions: dict[str, Any]) -> None:
    message = result(workplace, "Preflight", questions, algorithm={"differentiable": {}}, evaluation=None)
    assert {name: message.metrics[name] for name in ("classes", "weightsExamples", "testExamples")} == {
        "classes": 5, "weightsExamples": 72, "testExamples": 90
    }  # fmt: skip


def test_a_differentiable_search_ends_with_an_architecture(workplace: Workplace, questions: dict[str, Any]) -> None:
    settings = {"method": "DARTS", "order": "Second", "epochs": 2, "batchSize": 16}
    message = result(workplace, "Supernet", questions, algorithm={"differentiable": settings}, evaluation=None)
    assert set(message.architecture) == set(ARCHITECTURE)


def test_one_path_and_scores_have_what_they_need(workplace: Workplace, questions: dict[str, Any]) -> None:
    shared = {"sharedWeights": {"epochs": 1}}
    assert result(workplace, "SharedWeights", questions, evaluation=shared, spec={"epochs": 1}).artifacts
    given = {"architectures": [ARCHITECTURE]}
    message = result(workplace, "Score", questions, evaluation={"zeroCost": {}}, spec=given)
    assert np.isfinite(message.results[0]["zeroCost"])


def test_train_takes_the_adversarial_step_where_it_is_asked_for(
    workplace: Workplace, questions: dict[str, Any]
) -> None:
    given = {"architecture": ARCHITECTURE, "epochs": 2}
    adversarial = task(training=TRAINING | {"adversarial": {"steps": 2}}).wire()
    plain = result(workplace, "Train", questions, spec=given).metrics
    moved = result(workplace, "Train", questions, spec=given, task=adversarial).metrics
    assert plain["loss"] != moved["loss"]
    assert plain["parameters"] == moved["parameters"]
    assert {"accuracy", "loss"} <= plain.keys()


def test_an_exported_model_answers_with_the_files_beside_it(workplace: Workplace, questions: dict[str, Any]) -> None:
    given = {"architecture": ARCHITECTURE, "epochs": 30}
    message = result(workplace, "Retrain", questions, spec=given)
    assert message.metrics["testAccuracy"] > 0.9
    weights = {"uri": message.artifacts[0].uri, "sha256": message.artifacts[0].sha256}
    exported = result(
        workplace, "Export", questions, trial="digits-abcde-4", spec={"architecture": ARCHITECTURE, "weights": weights}
    )
    assert 0 <= exported.metrics["exportDifference"] < 1e-4
    folder = workplace.artifacts / "digits-abcde-4"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files.keys() == {"model.onnx", "tokenizer.json", "answers.json"}
    assert {a.format for a in exported.artifacts} == {"onnx", "json"}
    assert {a.sha256 for a in exported.artifacts} == {hashlib.sha256(f).hexdigest() for f in files.values()}

    # As a user would, from the files alone.
    tokenizer, answers = Tokenizer.from_str(files["tokenizer.json"].decode()), json.loads(files["answers.json"])
    session = onnxruntime.InferenceSession(files["model.onnx"])
    right = 0
    for number in range(30):
        image = Image.open(io.BytesIO((workplace.root / f"data/small/images/test-{number:02}.png").read_bytes()))
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1)[None]
        ids = np.array([tokenizer.encode("What colour is the shape?").ids])
        (outputs,) = session.run(["outputs"], {"images": pixels, "question": ids})
        right += answers[int(outputs.argmax())] == ("red", "green", "blue")[number % 3]
    assert right >= 27
