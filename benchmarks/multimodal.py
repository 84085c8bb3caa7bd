"""Does a fusion search need both inputs, and is what it finds better than a simple fusion and than random ones?

Every network is trained from scratch with the spec's final size, recipe, epochs and data, and the same seeds. The
baselines are the simple fusion (both deepest layers, concatenated, in every node) with one of its inputs taken away:
every image is the mean image, or every question is empty. The test questions decide, and are about images that nothing
was trained on. With --adversarial the derived fusion is trained once more with the adversarial step of its default
settings.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import torch

from archsearch.api.load import InvalidSpec, read_search
from archsearch.api.questions import Adversarial
from archsearch.api.search import ArchitectureSearchSpec
from archsearch.api.task import Training
from archsearch.evaluation import Trainer, derive, evaluate
from archsearch.evaluation.adversarial import passes_of
from archsearch.networks import network
from archsearch.planning.defaults import resolve
from archsearch.planning.pipeline import derive_seed
from archsearch.spaces import Architecture, Space, space_of
from archsearch.tasks import QuestionData, Split, load
from benchmarks.retrained_vs_random import found, random_cells, say, search

SIMPLE = "concat_fc"
PARTS = ("weights", "architecture", "selection", "test")


@dataclass(frozen=True)
class Result:
    """A network and the test accuracies that it reached, one for each seed."""

    name: str
    architecture: str
    accuracies: tuple[float, ...]

    def __str__(self) -> str:
        mean, deviation = fmean(self.accuracies), stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0
        return f"{self.name:<24}{f'{mean:.4f} +- {deviation:.4f}':>20}"


def without_images(data: QuestionData) -> QuestionData:
    """Every image is the mean image of the training."""
    mean = torch.tensor(data.signature.inputs[0].mean).round().to(torch.uint8)
    return replace(data, images=mean[None, :, None, None].expand_as(data.images).contiguous())


def without_questions(data: QuestionData) -> QuestionData:
    """Every question is empty."""

    def emptied(part: Split) -> Split:
        index, tokens = part.inputs
        return Split((index, torch.zeros_like(tokens)), part.targets)

    return replace(data, **{name: emptied(getattr(data, name)) for name in PARTS})


def simple(space: Space) -> Architecture:
    """Both deepest layers, concatenated, in every node."""
    options = {choice.name: choice.options for choice in space.choices}
    return space.architecture(
        {name: SIMPLE if SIMPLE in found else found[-1] for name, found in options.items()}
    )  # fmt: skip


def train(
    spec: ArchitectureSearchSpec,
    data: QuestionData,
    name: str,
    architecture: Architecture,
    seeds: int,
    training: Training | None = None,
) -> Result:
    """Train the final network from scratch from the first `seeds` seeds of the spec's retraining."""
    assert spec.space is not None
    space, recipe, accuracies = space_of(spec.space), training or spec.task.training, []
    for number in range(seeds):
        seed = derive_seed(spec.seed, "Retrain", number)
        torch.manual_seed(derive(seed))
        built = network(space, architecture, stack="final", signature=data.signature)
        passes = passes_of(built, data, recipe)
        trainer = Trainer(built, data, recipe, epochs=spec.retrain.epochs, seed=seed, passes=passes)
        while trainer.epoch < trainer.epochs:
            trainer.run_epoch(lambda: False)
        accuracies.append(evaluate(built, data, data.test)["accuracy"])
    result = Result(name, architecture.json(), tuple(accuracies))
    say(str(result))
    return result


def compare(
    spec: ArchitectureSearchSpec, data: QuestionData, derived: Architecture, seeds: int, random: int, adversarial: bool
) -> list[Result]:
    """The results of all networks."""
    assert spec.space is not None
    space = space_of(spec.space)
    plain = simple(space)
    jobs: list[tuple[str, QuestionData, Architecture]] = [
        ("questions alone", without_images(data), plain),
        ("images alone", without_questions(data), plain),
        ("simple fusion", data, plain),
        ("derived fusion", data, derived),
        *((f"random fusion {n}", data, a) for n, a in enumerate(random_cells(space, random, spec.seed, {derived}))),
    ]
    results = [train(spec, own, name, architecture, seeds) for name, own, architecture in jobs]
    if adversarial:
        training = spec.task.training.model_copy(update={"adversarial": Adversarial()})
        results.append(train(spec, data, "derived, adversarial", derived, seeds, training))
    return results


def main() -> int:
    """0 where the derived fusion is above both baselines; 1 where it is not; 2 for input that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.multimodal", description=__doc__)
    parser.add_argument("--spec", type=Path, default=Path("examples/multimodal.yaml"), help="a search")
    parser.add_argument("--data", type=Path, required=True, help="where the spec's data volume is mounted")
    parser.add_argument("--result", type=Path, help="result of a finished search: do not search here")
    parser.add_argument("--random", type=int, default=4, help="random fusions (default 4)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each network (default 3)")
    parser.add_argument("--adversarial", action="store_true", help="with the adversarial step as well")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    try:
        spec = resolve(read_search(arguments.spec)[1], "")
        assert spec.space is not None
        space, data = space_of(spec.space), load(spec.task, arguments.data)
        if not isinstance(data, QuestionData):
            raise ValueError(f"{arguments.spec}: task must be visualQuestionAnswering, but is {data.name}")
        derived = found(arguments.result, space) if arguments.result else search(spec, space, data, spec.seed)[0]
    except (InvalidSpec, OSError, ValueError) as error:
        say(str(error))
        return 2
    results = compare(spec, data, derived, arguments.seeds, arguments.random, arguments.adversarial)
    means = {result.name: fmean(result.accuracies) for result in results}
    whole = json.dumps([asdict(result) for result in results], indent=2)
    sys.stdout.write((whole if arguments.json else "\n".join(map(str, results))) + "\n")
    return 0 if means["derived fusion"] > max(means["questions alone"], means["images alone"]) else 1


if __name__ == "__main__":
    sys.exit(main())
