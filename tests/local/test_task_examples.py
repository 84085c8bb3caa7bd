"""The examples of the tasks, with little to do: what a model needs is beside it. In a file of their own, so that both
run at once."""

from pathlib import Path

import pytest
from little_examples import run_to_its_end

BESIDE = {
    "detection": ["model.onnx"],
    "mobile": ["model.onnx"],
    "multimodal": ["model.onnx", "tokenizer.json", "answers.json"],
    "npz-volume": [],
    "segmentation": ["model.onnx"],
    "speech": ["model.onnx", "features.json", "classes.json"],
    "text": ["model.onnx", "tokenizer.json", "classes.json"],
    "translation": ["model.onnx", "tokenizer.json"],
}
"""What must be in the folder of the result."""


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.timeout(300)
def test_the_example_of_a_task_runs_to_its_end(name: str, tmp_path: Path):
    run_to_its_end(name, tmp_path, *BESIDE[name])
