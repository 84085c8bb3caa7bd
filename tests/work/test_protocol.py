"""What goes in and what comes out: bad input, exit codes, the message, the metrics."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from archsearch.api.space import DartsCells, Space
from archsearch.api.work import Message, decode
from archsearch.spaces import space_of
from archsearch.work import device, files, protocol, train
from archsearch.work.interruption import Interruption
from archsearch.work.metrics import DESCRIPTIONS, Metrics, series

if TYPE_CHECKING:
    from tests.work.conftest import Workplace

GARBAGE = {
    "": "ARCHSEARCH_WORK must hold the work as JSON, but is empty",
    "hello": "ARCHSEARCH_WORK must be JSON, but got 'hello'",
    "[" * 100_000: "ARCHSEARCH_WORK must be JSON",
    "null": "ARCHSEARCH_WORK: document: Input should be",
    "[1, 2]": "ARCHSEARCH_WORK: document: Input should be",
    "{}": "ARCHSEARCH_WORK: search: Field required",
    "\udcff\udcfe": "ARCHSEARCH_WORK must be JSON",  # bytes that are no text
}


@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_a_users_error(workplace: Workplace, text: str) -> None:
    ending = workplace.run(text)
    assert ending.code == 3
    assert GARBAGE[text] in str(ending.message.error)
    assert not any("Traceback" in line for line in ending.log)


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"version": 2}, "version: Input should be 1"),
    ({"spec": {"seed": -1}}, "spec.seed"),
    ({"spec": {"work": "Dance"}}, "spec.work"),
    ({"task": {}}, "custom must be set, but got none"),
    ({"space": {"nasBench201": {}, "dartsCells": {}}}, "exactly one of"),
    ({"metricsPort": 70_000}, "metricsPort"),
    ({"spec": {"architecture": None}}, "spec.architecture must be set for Train"),
    ({"spec": {"epochs": None}}, "spec.epochs must be set for Train"),
    ({"spec": {"architecture": {"cell/1/0": "conv_9x9"}}}, "cell/1/0"),
    ({"spec": {"architecture": {}}}, "cell/1/0"),
    (
        {"task": {"imageClassification": {"dataset": {"volume": {"claimName": "data", "path": "no"}}}}},
        "must be mounted",
    ),
]


@pytest.mark.parametrize(("changed", "said"), BAD_FIELDS)
def test_bad_fields_are_a_users_error(
    workplace: Workplace, cell: dict[str, Any], changed: dict[str, Any], said: str
) -> None:
    spec = {"architecture": cell, "epochs": 1} | changed.get("spec", {})
    ending = workplace.run(workplace.document("Train", **(changed | {"spec": spec})))
    assert ending.code == 3
    assert said in str(ending.message.error)
    assert ending.log[-1] == f"error: {ending.message.error}"


@pytest.mark.parametrize("kind", protocol.KINDS)
@pytest.mark.parametrize("trial", ["../../other", "..", "", "a/b", "digits-3\n", "x" * 254])
def test_a_trial_that_is_no_name_is_refused_before_anything_is_written(
    workplace: Workplace, kind: str, trial: str
) -> None:
    ending = workplace.run(workplace.document(kind, trial=trial))
    assert ending.code == 3
    assert "ARCHSEARCH_WORK: trial: String should " in str(ending.message.error)
    assert [path.name for path in workplace.root.rglob("*")] == ["termination-log"]


def missing(workplace: Workplace, cell: dict[str, Any]) -> dict[str, Any]:
    """Work whose data set is not on the volume: the error says what is there instead."""
    dataset = {"volume": {"claimName": "data", "path": "no"}}
    return workplace.document("Train", spec={"architecture": cell, "epochs": 1},
                              task={"imageClassification": {"dataset": dataset}},
                              paths={"data": str(workplace.root / "data")})  # fmt: skip


@pytest.mark.parametrize("character", ["é", "架", "🐜"])
def test_an_error_in_any_script_fits_in_a_message(workplace: Workplace, cell: dict[str, Any], character: str) -> None:
    document = missing(workplace, cell)
    (workplace.root / "data").mkdir()
    for number in range(10):
        (workplace.root / "data" / f"{number}{character * (250 // len(character.encode()))}").touch()
    ending = workplace.run(document)
    assert ending.code == 3
    error = str(ending.message.error)
    assert "no: does not exist" in error
    assert error.endswith(f"{character}…")
    assert len(error) > 200


def test_a_long_error_is_cut_to_what_a_message_may_hold(workplace: Workplace, cell: dict[str, Any]) -> None:
    spec = {"architecture": cell | {"cell/1/0": "x" * 5000}, "epochs": 1}
    ending = workplace.run(workplace.document("Train", spec=spec))
    assert ending.code == 3
    assert len(ending.text) <= 4096


ADVICE = "lower the batch size, or raise trial.resources.limits.memory"
CRASHES = [
    (RuntimeError("boom\nand more"), "crashed: RuntimeError: boom and more"),
    (MemoryError(), f"out of memory: MemoryError; {ADVICE}"),
    (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        f"out of memory: [enforce fail] DefaultCPUAllocator: can't allocate memory; {ADVICE}",
    ),
    (
        torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB.\nmore"),
        "out of GPU memory: CUDA out of memory. Tried 2 GiB.; lower the batch size, or ask for a larger device",
    ),
]


@pytest.mark.parametrize(("error", "last"), CRASHES)
def test_a_crash_ends_with_one_line_that_says_what_it_was(
    workplace: Workplace, cell: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: Exception, last: str
) -> None:
    def failing(*_: object) -> Message:
        raise error

    monkeypatch.setattr(train, "run", failing)
    ending = workplace.run(workplace.document("Train", spec={"architecture": cell, "epochs": 1}))
    assert ending.code == 1
    assert ending.text == ""  # Kubernetes puts the end of the log there
    assert ending.log[-1] == last
    assert ("Traceback (most recent call last):" in ending.log) == last.startswith("crashed")


def test_a_training_that_diverges_says_so(workplace: Workplace, cell: dict[str, Any]) -> None:
    recipe = {"learningRate": "100000000000", "gradientClip": "100000000000"}
    task = {"imageClassification": {"dataset": {"builtin": "digits"}, "training": recipe}}
    ending = workplace.run(workplace.document("Train", task=task, spec={"architecture": cell, "epochs": 2}))
    assert ending.code == 3
    assert str(ending.message.error).startswith("training diverged: the loss of epoch ")


@pytest.mark.parametrize("kind", ["Train", "Retrain"])
def test_a_training_whose_last_step_breaks_it_has_diverged_too(
    workplace: Workplace, cell: dict[str, Any], kind: str
) -> None:
    """One step an epoch: its loss, from before the step, is a number, and the loss on the selection images is not."""
    recipe = {"batchSize": 8192, "learningRate": "100000000000", "gradientClip": "100000000000"}
    task = {"imageClassification": {"dataset": {"builtin": "digits"}, "training": recipe}}
    ending = workplace.run(workplace.document(kind, task=task, spec={"architecture": cell, "epochs": 1}))
    assert ending.code == 3
    assert "training diverged: the selection loss after epoch 1 is nan; lower task.image" in str(ending.message.error)
    assert not any("Traceback" in line for line in ending.log)


def test_a_gpu_that_pytorch_cannot_use_is_a_users_error(
    workplace: Workplace, cell: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(device, "NVIDIA_DEVICE", tmp_path)
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "GPU-1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ending = workplace.run(workplace.document("Train", spec={"architecture": cell, "epochs": 1}))
    assert ending.code == 3
    assert "the pod was given a GPU" in str(ending.message.error)


def test_the_largest_genotype_fits_in_a_message() -> None:
    import numpy as np

    space = space_of(Space(darts_cells=DartsCells(nodes=7)))
    rng = np.random.default_rng(0)
    largest = max((space.sample(rng) for _ in range(50)), key=lambda architecture: len(architecture.json()))
    metrics = dict.fromkeys(("accuracy", "loss", "testAccuracy", "testLoss", "flops"), 0.12345678901234566)
    curve = tuple({"epoch": epoch, "value": 0.12345678901234567} for epoch in range(9937, 10001))
    artifacts = [{"uri": "pvc://claim/" + "x" * 300, "sha256": "0" * 64, "format": "safetensors"}]
    document = {"metrics": metrics, "architecture": dict(largest.values), "curve": curve, "artifacts": artifacts}
    message = Message.model_validate(document)
    text = message.encode()
    assert len(text.encode()) <= 4096
    again = decode(text)
    assert space.architecture(dict(again.architecture or {})) == largest
    assert again.metrics == metrics
    assert len(again.curve) >= 8


def test_a_message_replaces_a_longer_one_where_nothing_can_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a pod: a file that is mounted into a folder that is not ours."""
    target = tmp_path / "termination-log"
    target.write_text("x" * 4096)

    def refused(path: Path, content: bytes) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(protocol, "write_whole", refused)
    protocol.write_message(Message(metrics={"accuracy": 0.5}), target)
    assert decode(target.read_text()).metrics == {"accuracy": 0.5}


def test_files_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "file"
    files.write_whole(path, b"one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_whole(path, b"two")
    assert path.read_bytes() == b"one"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def scrape(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def test_metrics_are_absent_until_they_are_known() -> None:
    metrics = Metrics()
    port = metrics.serve(0)
    text = scrape(port)
    assert "archsearch_trial" not in text
    assert "process_resident_memory_bytes" in text
    metrics.set(
        {
            series("archsearch_trial_objective", metric="accuracy", split="selection"): 0.25,
            series("archsearch_trial_objective", metric="loss", split="training"): 2.0,
            series("archsearch_trial_epoch"): 3,
            series("archsearch_trial_latency_seconds", quantile="0.99"): 0.5,
        }
    )
    lines = scrape(port).splitlines()
    for line in (
        'archsearch_trial_objective{metric="accuracy",split="selection"} 0.25',
        'archsearch_trial_objective{metric="loss",split="training"} 2.0',
        "archsearch_trial_epoch 3.0",
        'archsearch_trial_latency_seconds{quantile="0.99"} 0.5',
        "# TYPE archsearch_trial_epoch gauge",
    ):
        assert line in lines


def test_a_metric_without_a_description_is_a_mistake() -> None:
    assert all(text.endswith(".") for text in DESCRIPTIONS.values())
    with pytest.raises(KeyError):
        series("archsearch_trial_speed")


def test_only_a_whole_scrape_of_the_final_numbers_ends_the_wait() -> None:
    metrics = Metrics()
    port = metrics.serve(0)
    accuracy = series("archsearch_trial_objective", metric="accuracy", split="selection")
    metrics.set({accuracy: 0.1})
    scrape(port)
    assert not metrics.await_scrape(0.05, lambda: False)  # before the final numbers
    metrics.set({accuracy: 0.9}, final=True)
    with pytest.raises(urllib.error.HTTPError):
        scrape(port, "/healthz")
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("HEAD", "/metrics")
    connection.getresponse().read()
    connection.close()
    with socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(b"GET /metrics HTT")
    assert not metrics.await_scrape(0.2, lambda: False)
    read: list[str] = []
    thread = threading.Timer(0.2, lambda: read.append(scrape(port)))
    thread.start()
    assert metrics.await_scrape(20, lambda: False)
    thread.join()
    assert "0.9" in read[0]


def test_the_wait_ends_when_the_process_is_told_to_stop() -> None:
    metrics = Metrics()
    metrics.set({}, final=True)
    answers = iter([False, True])
    assert not metrics.await_scrape(600, lambda: next(answers))


def test_a_port_that_is_taken_costs_the_metrics_and_not_the_result(workplace: Workplace, cell: dict[str, Any]) -> None:
    with socket.create_server(("", 0)) as taken:
        document = workplace.document("Train", spec={"architecture": cell, "epochs": 1}, scrapeTimeoutSeconds=600,
                                      metricsPort=taken.getsockname()[1])  # fmt: skip
        ending = workplace.run(document)
    assert ending.code == 0
    assert any("no metrics: port" in line for line in ending.log)


def test_every_number_of_a_result_is_shown() -> None:
    found = protocol.shown({"accuracy": 0.5, "testAccuracy": 0.4, "testExamples": 7, "latencyMs@t4": 1.5})
    assert found == {
        series("archsearch_trial_objective", metric="accuracy", split="selection"): 0.5,
        series("archsearch_trial_objective", metric="accuracy", split="test"): 0.4,
        series("archsearch_trial_objective", metric="testExamples", split="selection"): 7,
        series("archsearch_trial_objective", metric="latencyMs@t4", split="selection"): 1.5,
    }


def test_the_result_is_logged_before_the_message_can_fail(
    workplace: Workplace, cell: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace.termination.mkdir()  # nothing can be written there
    document = workplace.document("Train", spec={"architecture": cell, "epochs": 1})
    code = protocol.main(Interruption(), workplace.environment(document))
    log = workplace.read_log().splitlines()
    assert code == 1
    (result,) = [line for line in log if line.startswith("result: ")]
    assert json.loads(result.removeprefix("result: ")).keys() == {
        "accuracy",
        "loss",
        "parameters",
        "flops",
        "activationMiB",
    }
