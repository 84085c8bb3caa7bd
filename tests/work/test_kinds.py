"""Each kind of work, on real data: what it reports and what it leaves behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save

from archsearch.api.signature import image_signature
from archsearch.api.space import Space
from archsearch.evaluation import evaluate, load_network
from archsearch.networks import network
from archsearch.spaces import Architecture, space_of
from archsearch.tasks import load
from archsearch.work import export
from archsearch.work.checkpoint import metadata
from archsearch.work.context import static_cost
from archsearch.work.preflight import regular

if TYPE_CHECKING:
    from tests.work.conftest import Workplace

# The final stack without its cells (two 3x3 convolutions and a 1x1 between stages), and the cell's two 3x3 and one 1x1
# convolution in each of three stages, each with batch normalisation: 11,374.
STEM_AND_HEAD = (9 * 4 + 8) + (288 + 576 + 32 + 32) + (1152 + 2304 + 128 + 64) + 32 + 170
FINAL_PARAMETERS = STEM_AND_HEAD + sum(2 * (9 * c * c + 2 * c) + c * c + 2 * c for c in (4, 8, 16))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_preflight_says_what_there_is(workplace: Workplace) -> None:
    ending = workplace.run(workplace.document("Preflight", algorithm={"differentiable": {}}))
    assert ending.code == 0
    metrics = ending.message.metrics
    assert metrics.pop("log10Architectures") == pytest.approx(4.19382)  # 15,625
    assert metrics == {"classes": 10, "weightsExamples": 577, "architectureExamples": 574, "selectionExamples": 287,
                       "testExamples": 359}  # fmt: skip
    assert any("supernet:" in line for line in ending.log)
    assert files(workplace.root) == ["termination-log"]  # the probe is gone


LIMITS = [
    (
        {"metric": "parameters", "max": "100"},
        "parameters at most 100: the smallest of 29 has 4,822 in the final network",
    ),
    ({"metric": "parameters", "min": "1M"}, "parameters at least 1M: the largest of 29 has "),
    ({"metric": "flops", "max": "0.001"}, "flops at most 0.001"),
]


@pytest.mark.parametrize(("limit", "said"), LIMITS)
def test_preflight_refuses_limits_that_no_architecture_keeps(
    workplace: Workplace, limit: dict[str, str], said: str
) -> None:
    ending = workplace.run(workplace.document("Preflight", constraints=[limit]))
    assert ending.code == 3
    assert f"constraints: no architecture keeps {said}" in str(ending.message.error)


def test_preflight_accepts_limits_that_some_keep(workplace: Workplace) -> None:
    limits = [{"metric": "parameters", "min": "4k", "max": "12k"}, {"metric": "latencyMs", "profile": "t4", "max": "1"}]
    ending = workplace.run(workplace.document("Preflight", constraints=limits))
    assert ending.code == 0
    assert any("of 29 architectures keep it" in line for line in ending.log)


def skips_or_convolutions(nodes: int) -> dict[str, Any]:
    size = {"channels": 4, "cells": 3}
    return {"dartsCells": {"nodes": nodes, "operations": ["skip_connect", "sep_conv_3x3"], "search": size,
                           "final": size}}  # fmt: skip


def test_the_regular_architectures_are_the_cheapest_and_the_dearest() -> None:
    """Among all reduction cells beside the normal cell of each: the two kinds of cells cost independently."""
    space = space_of(Space.model_validate(skips_or_convolutions(nodes=2)))
    extremes = list(regular(space))
    assert len(extremes) == len(set(extremes)) == 4  # two operations, two sets of inputs

    def cost(architecture: Architecture) -> float:
        return static_cost(space, architecture, "final", image_signature((1, 8, 8), 10))["parameters"]

    def normal(architecture: Architecture) -> dict[str, Any]:
        return {name: value for name, value in architecture.values.items() if name.startswith("normal")}

    ordered = sorted(extremes, key=cost)
    for end, best in ((ordered[0], min), (ordered[-1], max)):
        beside = [other for index in range(space.size()) if normal(other := space.at(index)) == normal(end)]
        assert len(beside) == 48
        assert cost(end) == best(cost(other) for other in beside)


def test_preflight_accepts_a_limit_that_only_the_cheapest_keeps(workplace: Workplace) -> None:
    """Skips from the latest inputs: they have no weights where they do not stride."""
    spec = skips_or_convolutions(nodes=3)
    space = space_of(Space.model_validate(spec))
    cheapest = space.architecture(
        {choice.name: choice.options[-1 if choice.is_subset else 0] for choice in space.choices}
    )
    least = static_cost(space, cheapest, "final", image_signature((1, 8, 8), 10))["parameters"]
    for limit, code in ((least, 0), (least - 1, 3)):
        limits = [{"metric": "parameters", "max": f"{limit:.0f}"}]
        assert workplace.run(workplace.document("Preflight", space=spec, constraints=limits)).code == code


def test_preflight_refuses_a_volume_that_cannot_be_written(workplace: Workplace) -> None:
    workplace.artifacts.parent.mkdir()
    workplace.artifacts.write_text("a file where the folder should be")
    ending = workplace.run(workplace.document("Preflight"))
    assert ending.code == 3
    assert f"artifacts: {workplace.artifacts} must be writable" in str(ending.message.error)


def test_preflight_refuses_images_that_do_not_pass_through(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archsearch.work import context

    def too_small(built: torch.nn.Module, shape: tuple[int, int, int]) -> tuple[int, int]:
        raise RuntimeError("Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3)")

    monkeypatch.setattr(context, "count", too_small)
    ending = workplace.run(workplace.document("Preflight"))
    assert ending.code == 3
    assert "space: images of 1x8x8 do not pass through the search network" in str(ending.message.error)


def test_train_reports_the_objective_and_the_final_networks_cost(workplace: Workplace, cell: dict[str, Any]) -> None:
    ending = workplace.run(workplace.document("Train", spec={"architecture": cell, "epochs": 4}))
    message = ending.message
    assert ending.code == 0
    assert message.architecture == cell
    assert message.metrics.keys() == {"accuracy", "loss", "parameters", "flops", "activationMiB"}
    assert message.metrics["parameters"] == FINAL_PARAMETERS
    assert [point.epoch for point in message.curve] == [1, 2, 3, 4]
    assert message.curve[-1].value == message.metrics["accuracy"]
    assert message.metrics["accuracy"] > 0.2
    epochs = [line for line in ending.log if line.startswith("epoch ")]
    assert len(epochs) == 4
    assert "selection accuracy" in epochs[0]
    assert files(workplace.root) == ["termination-log"]  # no checkpoint is left


def test_a_curve_shows_the_first_learned_objective(workplace: Workplace, cell: dict[str, Any]) -> None:
    objectives = [{"metric": "parameters", "goal": "Minimize"}, {"metric": "loss", "goal": "Minimize"}]
    document = workplace.document("Train", spec={"architecture": cell, "epochs": 2}, objectives=objectives)
    message = workplace.run(document).message
    assert message.curve[-1].value == message.metrics["loss"]


def test_the_same_seed_gives_the_same_result_and_another_one_another(
    workplace: Workplace, cell: dict[str, Any]
) -> None:
    documents = [workplace.document("Train", spec={"architecture": cell, "epochs": 2, "seed": s}) for s in (5, 5, 6)]
    one, same, other = (workplace.run(document).message.metrics for document in documents)
    assert one == same
    assert one["loss"] != other["loss"]


@pytest.mark.parametrize("kind", ["Train", "Retrain"])
@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"metric": "parameters", "max": "11k"}, f"parameters must be at most 11k, but got {FINAL_PARAMETERS}"),
        ({"metric": "flops", "min": "1G"}, "flops must be at least 1G, but got "),
    ],
)
def test_an_architecture_beyond_a_limit_is_not_trained(
    workplace: Workplace, cell: dict[str, Any], kind: str, limit: dict[str, str], said: str
) -> None:
    document = workplace.document(kind, spec={"architecture": cell, "epochs": 500}, constraints=[limit])
    ending = workplace.run(document)
    assert ending.code == 42
    assert said in str(ending.message.error)
    assert ending.message.metrics["parameters"] == FINAL_PARAMETERS
    assert said in ending.log[-1]


def test_limits_that_are_kept_or_measured_elsewhere_change_nothing(workplace: Workplace, cell: dict[str, Any]) -> None:
    limits = [{"metric": "parameters", "max": "11.4k"}, {"metric": "latencyMs", "profile": "t4", "max": "0.000001"}]
    document = workplace.document("Train", spec={"architecture": cell, "epochs": 1}, constraints=limits)
    assert workplace.run(document).code == 0


def darts(order: str = "First", epochs: int = 3) -> dict[str, Any]:
    return {"differentiable": {"order": order, "epochs": epochs, "batchSize": 128}}


def test_a_supernet_ends_with_an_architecture_of_the_space(workplace: Workplace) -> None:
    document = workplace.document("Supernet", algorithm=darts())
    ending = workplace.run(document)
    message = ending.message
    assert ending.code == 0
    assert message.architecture is not None
    assert message.architecture.keys() == {f"cell/{node}/{edge}" for node in (1, 2, 3) for edge in range(node)}
    assert message.metrics.keys() == {"accuracy", "loss", "parameters", "flops", "activationMiB"}
    assert len(message.curve) == 3
    trained = workplace.document("Train", spec={"architecture": dict(message.architecture), "epochs": 1})
    cost = workplace.run(trained).message.metrics
    assert {name: cost[name] for name in ("parameters", "flops")} == {
        name: message.metrics[name] for name in ("parameters", "flops")}  # fmt: skip


def test_a_supernet_beyond_a_limit_still_says_what_it_found(workplace: Workplace) -> None:
    limits = [{"metric": "parameters", "max": "1"}]
    ending = workplace.run(workplace.document("Supernet", algorithm=darts(epochs=1), constraints=limits))
    assert ending.code == 0
    assert ending.message.architecture is not None


def test_a_supernet_needs_a_differentiable_algorithm(workplace: Workplace) -> None:
    ending = workplace.run(workplace.document("Supernet"))
    assert ending.code == 3
    assert ending.message.error == "algorithm must be differentiable for Supernet, but got random"


def test_the_one_shot_accuracy_rises_with_training(workplace: Workplace) -> None:
    space = {"dartsCells": {"nodes": 2, "operations": ["none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"],
                            "search": {"channels": 4, "cells": 3}, "final": {"channels": 4, "cells": 3}}}  # fmt: skip
    algorithm = {"differentiable": {"order": "First", "epochs": 6, "batchSize": 64, "learningRate": "0.1"}}
    message = workplace.run(workplace.document("Supernet", space=space, algorithm=algorithm)).message
    values = [point.value for point in message.curve]
    assert max(values[3:]) > 0.3
    assert max(values[3:]) > values[0]


def test_profile_measures_the_final_network(workplace: Workplace, cell: dict[str, Any]) -> None:
    profile = {"name": "cpu-small", "batchSize": 4, "warmup": 1, "iterations": 12}
    document = workplace.document("Profile", spec={"architecture": cell, "profile": "cpu-small"}, profile=profile)
    message = workplace.run(document).message
    found = message.profile
    assert found is not None
    assert (found.profile, found.batch_size, found.runtime, found.parameters) == (
        "cpu-small", 4, "Torch", FINAL_PARAMETERS)  # fmt: skip
    assert 0 < found.latency_ms.p50 <= found.latency_ms.p95 <= found.latency_ms.p99
    assert message.metrics == {
        "latencyMs@cpu-small": found.latency_ms.p50, "throughput@cpu-small": found.throughput,
        "peakMemoryMiB@cpu-small": found.peak_memory_mib, "parameters": found.parameters, "flops": found.flops,
    }  # fmt: skip


def retrain(workplace: Workplace, cell: dict[str, Any], epochs: int = 6) -> dict[str, str]:
    """Retrain and return what an export is given."""
    ending = workplace.run(workplace.document("Retrain", spec={"architecture": cell, "epochs": epochs}))
    (artifact,) = ending.message.artifacts
    return {"uri": artifact.uri, "sha256": artifact.sha256}


def test_retrain_reports_the_test_images_and_keeps_the_weights(workplace: Workplace, cell: dict[str, Any]) -> None:
    document = workplace.document("Retrain", spec={"architecture": cell, "epochs": 6})
    ending = workplace.run(document)
    message = ending.message
    assert ending.code == 0
    assert message.metrics.keys() == {
        "accuracy",
        "loss",
        "testAccuracy",
        "testLoss",
        "parameters",
        "flops",
        "activationMiB",
    }
    (artifact,) = message.artifacts
    path = workplace.artifacts / "digits-abcde-3" / "weights.safetensors"
    assert artifact.uri == "pvc://claim/digits-abcde/digits-abcde-3/weights.safetensors"
    assert artifact.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert files(workplace.artifacts) == ["digits-abcde-3/weights.safetensors"]

    # The file alone gives the reported numbers again.
    from archsearch.api.work import Work

    work = Work.model_validate(document)
    space, data = space_of(work.space), load(work.task, None)
    built = network(space, space.architecture(cell), stack="final", signature=data.signature)
    load_network(built, load_file(path))
    again = evaluate(built, data, data.test)
    assert again["accuracy"] == message.metrics["testAccuracy"]
    assert again["loss"] == pytest.approx(message.metrics["testLoss"], rel=1e-6)


def test_retrain_without_a_volume_still_reports(workplace: Workplace, cell: dict[str, Any]) -> None:
    document = workplace.document("Retrain", artifacts=False, spec={"architecture": cell, "epochs": 1})
    ending = workplace.run(document)
    assert ending.code == 0
    assert ending.message.artifacts == ()
    assert any("not kept" in line for line in ending.log)


def test_export_writes_a_model_that_answers_for_raw_images(workplace: Workplace, cell: dict[str, Any]) -> None:
    weights = retrain(workplace, cell)
    tested = workplace.run(workplace.document("Retrain", spec={"architecture": cell, "epochs": 6})).message
    document = workplace.document("Export", trial="digits-abcde-4", spec={"architecture": cell, "weights": weights})
    ending = workplace.run(document)
    assert ending.code == 0
    (artifact,) = ending.message.artifacts
    path = workplace.artifacts / "digits-abcde-4" / "model.onnx"
    assert (artifact.format, artifact.uri) == ("onnx", "pvc://claim/digits-abcde/digits-abcde-4/model.onnx")
    assert artifact.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert 0 <= ending.message.metrics["exportDifference"] < 1e-4

    from archsearch.api.work import Work

    test = load(Work.model_validate(document).task, None).test
    (logits,) = onnxruntime.InferenceSession(path).run(None, {"images": test.inputs.numpy().astype(np.float32)})
    accuracy = float((logits.argmax(1) == test.targets.numpy()).mean())
    assert accuracy == tested.metrics["testAccuracy"]


def test_a_model_that_differs_is_not_kept(
    workplace: Workplace, cell: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = retrain(workplace, cell, epochs=1)

    def differing(model: torch.nn.Module, path: Path, images: torch.Tensor) -> float:
        assert images.shape == (64, 1, 8, 8)
        path.write_bytes(b"wrong")
        return 0.02

    monkeypatch.setattr(export, "export_onnx", differing)
    document = workplace.document("Export", trial="digits-abcde-4", spec={"architecture": cell, "weights": weights})
    ending = workplace.run(document)
    assert ending.code == 1
    assert "differs from PyTorch by 2.00e-02, and must by less than " in str(ending.message.error)
    assert files(workplace.artifacts) == ["digits-abcde-3/weights.safetensors"]


def test_a_model_that_gives_no_numbers_is_not_kept(workplace: Workplace, cell: dict[str, Any]) -> None:
    retrain(workplace, cell, epochs=1)
    path = workplace.artifacts / "digits-abcde-3" / "weights.safetensors"
    described, weights = metadata(path.read_bytes()), load_file(path)
    weights["classifier.bias"][0] = float("nan")
    path.write_bytes(save(weights, metadata=described))
    named = {"uri": "pvc://claim/digits-abcde/digits-abcde-3/weights.safetensors",
             "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}  # fmt: skip
    document = workplace.document("Export", trial="digits-abcde-4", spec={"architecture": cell, "weights": named})
    ending = workplace.run(document)
    assert ending.code == 1
    assert "differs from PyTorch by nan" in str(ending.message.error)
    assert files(workplace.artifacts) == ["digits-abcde-3/weights.safetensors"]


BAD_WEIGHTS: dict[str, tuple[Callable[[dict[str, str]], dict[str, str]], str]] = {
    "another checksum": (lambda w: w | {"sha256": "0" * 64}, "must have the sha256 000"),
    "another claim": (lambda w: w | {"uri": w["uri"].replace("claim", "other")}, "must start with pvc://claim/"),
    "another search": (lambda w: w | {"uri": w["uri"].replace("digits-abcde/", "secret/")}, "must start with pvc://"),
    "a way out": (
        lambda w: w | {"uri": "pvc://claim/digits-abcde/../other/w.safetensors"}, "must stay inside the volume"),
    "no file": (lambda w: w | {"uri": w["uri"] + "x"}, "cannot be read"),
    "a folder": (lambda w: w | {"uri": "pvc://claim/digits-abcde/digits-abcde-3"}, "cannot be read"),
}  # fmt: skip


def test_weights_that_are_not_what_was_said_are_refused(workplace: Workplace, cell: dict[str, Any]) -> None:
    weights = retrain(workplace, cell, epochs=1)
    for name, (change, said) in BAD_WEIGHTS.items():
        document = workplace.document("Export", spec={"architecture": cell, "weights": change(weights)})
        ending = workplace.run(document)
        assert (name, ending.code) == (name, 3)
        assert said in str(ending.message.error), name


def test_weights_of_another_architecture_or_none_are_refused(workplace: Workplace, cell: dict[str, Any]) -> None:
    weights = retrain(workplace, cell, epochs=1)
    other = cell | {"cell/1/0": "skip_connect"}
    for spec, said in (
        ({"architecture": other, "weights": weights}, "must be of the architecture that is exported"),
        ({"architecture": cell}, "spec.weights must be set for Export"),
    ):
        ending = workplace.run(workplace.document("Export", spec=spec))
        assert ending.code == 3
        assert said in str(ending.message.error)


def test_a_file_that_is_no_weights_is_refused(workplace: Workplace, cell: dict[str, Any]) -> None:
    (workplace.artifacts / "x").mkdir(parents=True)
    for content in (b"", b"not safetensors", b"\x02\0\0\0\0\0\0\0{}"):
        (workplace.artifacts / "x" / "w").write_bytes(content)
        weights = {"uri": "pvc://claim/digits-abcde/x/w", "sha256": hashlib.sha256(content).hexdigest()}
        ending = workplace.run(workplace.document("Export", spec={"architecture": cell, "weights": weights}))
        assert ending.code == 3
        assert "must be weights that a retraining wrote" in str(ending.message.error)


def test_weights_are_the_same_bytes_for_the_same_training(workplace: Workplace, cell: dict[str, Any]) -> None:
    first, second = (retrain(workplace, cell, epochs=1)["sha256"] for _ in range(2))
    assert first == second
