"""Training: reproducible, resumable between any two steps, and as the recipe says."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from archsearch.api.task import Dataset, ImageClassification, Task, Training
from archsearch.evaluation import Diverged, State, Stopped, Trainer, evaluate, recalibrate
from archsearch.tasks import ImageData, load

RECIPE = Training(batch_size=64, learning_rate="0.05")


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load(Task(image_classification=ImageClassification(dataset=Dataset(builtin="digits"))), None)


def small_network(seed: int = 0) -> nn.Sequential:
    """Convolutions, BatchNorm and dropout: everything that carries state or is random."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 4 * 4, 10),
    )  # fmt: skip


def trainer(data: ImageData, *, seed: int = 3, epochs: int = 2, recipe: Training = RECIPE) -> Trainer:
    return Trainer(small_network(), data, recipe, epochs=epochs, seed=seed)


def run(training: Trainer) -> list[tuple[float, float]]:
    reports = []
    while training.epoch < training.epochs:
        report = training.run_epoch(lambda: False)
        assert report is not None
        reports.append((report.loss, report.values["accuracy"]))
    return reports


def copied(state: State) -> State:
    return {name: tensor.detach().clone() for name, tensor in state[0].items()}, dict(state[1])


def differences(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(digits: ImageData) -> None:
    one, same, other = trainer(digits), trainer(digits), trainer(digits, seed=4)
    reports = [run(training) for training in (one, same, other)]
    assert reports[0] == reports[1]
    assert reports[0] != reports[2]
    assert differences(one.network.state_dict(), same.network.state_dict()) == []
    assert "0.weight" in differences(one.network.state_dict(), other.network.state_dict())


@pytest.mark.parametrize("stop_after", [0, 1, 9, 17, 18, 25, 35])
def test_a_resumed_training_is_bit_equal(digits: ImageData, stop_after: int) -> None:
    whole = trainer(digits)
    reports = run(whole)
    assert whole.steps == 17  # 1,151 training images in batches of 64

    first, steps = trainer(digits), itertools.count()
    before: list[tuple[float, float]] = []
    while (report := first.run_epoch(lambda: next(steps) == stop_after)) is not None:
        before.append((report.loss, report.values["accuracy"]))
        if first.epoch == first.epochs:
            break
    saved = copied(first.state())
    torch.rand(5)  # whatever else draws numbers in the new process
    second = Trainer(small_network(seed=99), digits, RECIPE, epochs=2, seed=3)
    second.load(saved)
    assert before + run(second) == reports
    assert differences(second.state()[0], whole.state()[0]) == []
    assert second.state()[1] == whole.state()[1]


def test_a_training_that_goes_on_after_a_stop_is_bit_equal_too(digits: ImageData) -> None:
    whole, broken = trainer(digits), trainer(digits)
    run(whole)
    answers = itertools.cycle([False, True])
    while broken.epoch < broken.epochs:
        broken.run_epoch(lambda: next(answers))
        copied(broken.state())
    assert differences(broken.state()[0], whole.state()[0]) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, place: place.update(epochs=3), "epochs must be 2"),
        (lambda tensors, place: place.update(seed=4), "seed must be 3"),
        (lambda tensors, place: place.update(epoch=7), "must be a place in 2 epochs, but got 7"),
        (lambda tensors, place: place.pop("step"), "epoch and step"),
        (lambda tensors, place: place.update(step=17), "step must be below the 17 of an epoch, but got 17 of epoch 0"),
        (lambda tensors, place: place.update(step=-1), "step must be below the 17 of an epoch, but got -1"),
        (lambda tensors, place: tensors.pop("network/4.weight"), r"must hold 4\.weight"),
        (
            lambda tensors, place: tensors.update({"network/0.weight": torch.ones(2)}),
            r"0\.weight must be torch.float32",
        ),
        (lambda tensors, place: tensors.update({"network/0.bias": torch.ones(8).double()}), "float64"),
        (lambda tensors, place: tensors.update({"network/gate": torch.ones(2)}), "no gate.*another architecture"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_name(digits: ImageData, change, message: str) -> None:  # type: ignore[no-untyped-def]
    tensors, place = copied(trainer(digits).state())
    change(tensors, place)
    with pytest.raises(ValueError, match=message):
        trainer(digits).load((tensors, place))


def test_the_learning_rate_falls_by_a_cosine_to_zero(digits: ImageData) -> None:
    training = trainer(digits, epochs=3)
    last = 3 * training.steps
    assert training.learning_rate(0) == 0.05
    assert training.learning_rate(last // 3) == pytest.approx(0.05 * 0.75)  # (1 + cos 60 degrees) / 2
    assert training.learning_rate(last) == pytest.approx(0, abs=1e-12)
    run(training)
    used = training._optimiser.param_groups[0]["lr"]
    assert used == training.learning_rate(last - 1)


def test_one_step_is_sgd_with_momentum_weight_decay_and_clipping(digits: ImageData) -> None:
    """Two steps on all images at once, against the formulas."""
    recipe = Training(batch_size=8192, learning_rate="0.1", momentum="0.8", weight_decay="0.01", gradient_clip="0.05")
    linear = nn.Linear(64, 10)
    weight, bias = linear.weight.detach().double().clone(), linear.bias.detach().double().clone()
    plain = replace(digits, augmentation="None")
    training = Trainer(nn.Sequential(nn.Flatten(), linear), plain, recipe, epochs=2, seed=0)
    assert training.steps == 1
    x = digits.prepare(digits.training).inputs.flatten(1).double()
    target = nn.functional.one_hot(digits.training.targets, 10).double()
    momentum = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for step in range(2):
        training.run_epoch(lambda: False)
        error = ((x @ weight.T + bias).softmax(1) - target) / len(x)
        gradients = [error.T @ x, error.sum(0)]
        norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
        assert norm > 0.05  # the clip takes part
        rate = 0.1 * (1 + math.cos(math.pi * step / 2)) / 2
        for index, value in enumerate((weight, bias)):
            momentum[index] = 0.8 * momentum[index] + gradients[index] * 0.05 / norm + 0.01 * value
            value -= rate * momentum[index]
    assert torch.allclose(linear.weight.double(), weight, atol=1e-6)
    assert torch.allclose(linear.bias.double(), bias, atol=1e-6)


def test_no_selection_or_test_image_is_trained_on(digits: ImageData) -> None:
    """The network sees the weights and architecture parts, each image at most once an epoch."""
    seen: list[Tensor] = []
    network = small_network()
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    recipe = Training(batch_size=64)
    Trainer(network, replace(digits, augmentation="None"), recipe, epochs=1, seed=0).run_epoch(lambda: False)
    images = {tuple(image.flatten().tolist()) for image in torch.cat(seen)}
    allowed = {tuple(image.flatten().tolist()) for image in digits.prepare(digits.training).inputs}
    assert len(images) == 17 * 64
    assert images <= allowed


def test_a_small_network_learns_the_digits(digits: ImageData) -> None:
    training = trainer(digits, epochs=8)
    before = evaluate(training.network, digits, digits.selection)
    reports = run(training)
    after = evaluate(training.network, digits, digits.selection)
    assert before["accuracy"] < 0.3
    assert reports[-1][0] < reports[0][0] / 2
    assert after["accuracy"] > 0.9
    assert after["loss"] < 1


def test_divergence_says_when_and_what_to_do(digits: ImageData) -> None:
    recipe = Training(batch_size=64, learning_rate="100000000000", gradient_clip="100000000000")
    with pytest.raises(Diverged, match=r"loss of epoch \d is (nan|inf); lower .*learningRate \(100000000000\)"):
        run(trainer(digits, epochs=3, recipe=recipe))


def test_evaluation_is_exact_and_leaves_the_network_as_it_was(digits: ImageData) -> None:
    network = small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    result = evaluate(network, digits, digits.test)
    assert network.training
    assert differences(before, network.state_dict()) == []
    network.eval()
    logits = network(digits.prepare(digits.test).inputs).detach().double()
    assert result["accuracy"] == float((logits.argmax(1) == digits.test.targets).double().mean())
    assert result["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, digits.test.targets)), rel=1e-5)


def test_evaluation_can_be_stopped(digits: ImageData) -> None:
    network, answers = small_network(), iter([False, True])
    with pytest.raises(Stopped):
        evaluate(network, digits, digits.test, lambda: next(answers))
    assert network.training


def test_recalibration_sets_the_statistics_and_nothing_else(digits: ImageData) -> None:
    network = small_network()
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    norm.running_mean.fill_(5.0)
    weights = {name: value.clone() for name, value in network.named_parameters()}
    recalibrate(network, digits, digits.weights)
    images = digits.prepare(digits.weights.first(512)).inputs  # the rest of 65 is too small to count
    expected = torch.stack([network[0](part).mean(dim=(0, 2, 3)) for part in images.chunk(2)]).mean(0)
    assert torch.allclose(norm.running_mean, expected, atol=1e-6)
    assert norm.momentum == 0.1
    assert differences(weights, dict(network.named_parameters())) == []
