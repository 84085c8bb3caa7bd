"""What a differentiable method fills in, what each paper says, and which combinations are refused: by both readers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from apiserver import Server, python_says, server_says
from specs import REMOVED, changed

from archsearch.api import ArchitectureSearchSpec, Differentiable
from archsearch.api.load import read_search
from archsearch.api.methods import BASE, METHODS, ONLY_WITH, Derivation, EigenvalueStop, Method, Mixing, Perturbation
from archsearch.planning import resolve

Json = dict[str, Any]

every_method = pytest.mark.parametrize("method", get_args(Method))


def search(**fields: Any) -> Json:
    changes = {"spec.algorithm": {"differentiable": fields}, "spec.evaluation": REMOVED, "spec.earlyStopping": REMOVED}
    return changed(changes)


def test_the_table_names_every_method_and_no_setting_that_a_spec_lacks() -> None:
    assert set(METHODS) == set(get_args(Method))
    assert set(BASE) == set(Differentiable.model_fields) - {"method", "epochs", "hardware_loss"}
    assert all(set(values) <= set(BASE) for values in METHODS.values())
    assert set(ONLY_WITH) <= set(BASE)


@every_method
def test_what_is_filled_in_is_a_spec_that_says_the_same(method: Method) -> None:
    filled = Differentiable(method=method).filled()
    assert filled.filled() == filled
    assert Differentiable.model_validate(filled.wire()) == filled
    assert {name: value for name in METHODS[method] if (value := getattr(filled, name)) is not None} == METHODS[method]


@every_method
def test_what_is_said_wins_over_what_the_method_says(method: Method) -> None:
    filled = Differentiable(method=method, learning_rate="0.5", batch_size=7).filled()
    assert (filled.learning_rate, filled.batch_size) == ("0.5", 7)


def test_a_setting_that_means_nothing_is_not_filled_in() -> None:
    gdas = Differentiable(method="GDAS").filled()
    assert (gdas.temperature, gdas.temperature_end, gdas.perturbation, gdas.threshold) == ("10", "0.1", None, None)
    softmax = Differentiable(method="GDAS", mixing="Softmax").filled()
    assert (softmax.temperature, softmax.perturbation) == (None, "None")
    assert Differentiable(method="FairDARTS", mixing="Softmax").filled().zero_one_loss is None


def test_the_default_does_not_collapse() -> None:
    """First order with beta decay, whose weight rises by 0.5 an epoch as in the published code."""
    filled = Differentiable().filled()
    assert (filled.order, filled.mixing, filled.beta_decay, filled.epochs) == ("First", "Softmax", "25", 50)


def test_the_papers_constants() -> None:
    """Those that would not be noticed by a search that only runs."""
    fbnet = Differentiable(method="FBNet", epochs=90).filled()
    assert float(str(fbnet.temperature_end)) == pytest.approx(5 * math.exp(-0.045 * 89), rel=1e-4)
    assert 90 * int(str(fbnet.warmup_percent)) // 100 == 9
    progressive = Differentiable(method="PDARTS").filled()
    assert [round(8 * stage.keep_percent / 100) for stage in progressive.stages or ()] == [8, 5, 3]
    assert [round(5 * stage.depth_percent / 100) for stage in progressive.stages or ()] == [5, 11, 17]
    assert Differentiable(method="RobustDARTS").filled().eigenvalue_stop == EigenvalueStop(
        ratio="1.3", window=5, grace_epochs=10
    )


def test_the_status_shows_what_was_filled_in() -> None:
    _, spec = read_search(json.dumps(search(method="PCDARTS", epochs=8)))
    assert isinstance(spec, ArchitectureSearchSpec)
    algorithm = resolve(spec, "image").algorithm
    assert algorithm is not None
    assert algorithm.differentiable == Differentiable(method="PCDARTS", epochs=8).filled()


BAD = {
    "a rate that rises": ({"learningRate": "0.0005"}, "learningRateMin must not be greater than learningRate (0.0005)"),
    "a rate above the method's": ({"method": "PCDARTS", "learningRateMin": "0.2"}, "learningRate (0.1), but got 0.2"),
    "a temperature that rises": ({"method": "GDAS", "temperatureEnd": "11"}, "temperature (10), but got 11"),
    "a temperature of a softmax": ({"temperature": "1"}, "temperature must be set only where mixing is GumbelSoftmax"),
    "a look ahead at gates": ({"method": "ProxylessNAS", "order": "Second"}, "order must be First for mixing BinaryG"),
    "gates in a look ahead": ({"method": "DARTS", "mixing": "OnePath"}, "order must be First for mixing OnePath"),
    "a perturbed draw": ({"method": "GDAS", "perturbation": "Random"}, "perturbation must be set only where mixing is"),
    "a radius of nothing": ({"perturbationRadius": "0.1"}, "perturbationRadius must be set only where perturbation is"),
    "beta decay of a sigmoid": ({"method": "FairDARTS", "betaDecay": "1"}, "betaDecay must be set only where mixing"),
    "zero-one of a softmax": ({"zeroOneLoss": "1"}, "zeroOneLoss must be set only where mixing is Sigmoid, but got So"),
    "a divergence of a softmax": ({"dirichletDivergence": "1"}, "dirichletDivergence must be set only where mixing is"),
    "curvature of noise": ({"method": "SNAS", "eigenvalueStop": {}}, "eigenvalueStop must be set only where mixing is"),
    "curvature of stages": ({"method": "PDARTS", "eigenvalueStop": {}}, "eigenvalueStop must not be set with stages"),
    "stages of curvature": ({"method": "RobustDARTS", "stages": [{}]}, "eigenvalueStop must not be set with stages"),
    "decisions in stages": ({"method": "DARTSPT", "stages": [{}]}, "stages must not be set with derivation Perturbat"),
    "more stages than epochs": ({"stages": [{}, {}, {}], "epochs": 2}, "stages must not be more than epochs (2), but"),
    "the method's stages": ({"method": "PDARTS", "epochs": 2}, "stages must not be more than epochs (2), but got 3"),
    "operations that come back": ({"stages": [{"keepPercent": 50}, {}]}, "stages must keep fewer and fewer operations"),
    "a threshold of nothing": ({"threshold": "0.5"}, "threshold must be set only where derivation is Threshold"),
    "samples of nothing": ({"samples": 3}, "samples must be set only where derivation is Sample, but got TopEdges"),
    "tuning of nothing": ({"finetuneEpochs": 3}, "finetuneEpochs must be set only where derivation is Perturbation"),
    "skips of a sample": ({"method": "FBNet", "maxSkips": 2}, "maxSkips must be set only where derivation is TopEdges"),
    "an unknown method": ({"method": "Darts"}, "algorithm.differentiable.method"),
    "frozen to the end": ({"warmupPercent": 91}, "algorithm.differentiable.warmupPercent"),
    "channels in 33 parts": ({"partialChannels": 33}, "algorithm.differentiable.partialChannels"),
    "a float": ({"betaDecay": 2.5}, "algorithm.differentiable.betaDecay"),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "said"), BAD.values(), ids=BAD.keys())
def test_a_combination_that_makes_no_sense_is_refused_with_a_reason(fields: Json, said: str) -> None:
    assert said.replace(" must", ": must", 1) in python_says(search(**fields))


def combinations() -> Iterator[Json]:
    """Every method with every value of what others depend on, and with each setting that depends on another."""
    settings: list[Json] = [{}]
    settings += [{"mixing": name} for name in get_args(Mixing)]
    settings += [{"derivation": name} for name in get_args(Derivation)]
    settings += [{"perturbation": name} for name in get_args(Perturbation)]
    settings += [{"order": "Second"}, {"epochs": 2}, {"stages": []}, {"stages": [{}]}, {"eigenvalueStop": {}}]
    settings += [{"learningRateMin": "0.03"}, {"learningRate": "0.0001"}, {"temperatureEnd": "7"}, {"maxSkips": 0}]
    settings += [{"threshold": "0.1"}, {"samples": 1}, {"finetuneEpochs": 1}, {"betaDecay": "1"}, {"zeroOneLoss": "1"}]
    settings += [{"dirichletDivergence": "1"}, {"perturbationRadius": "1"}, {"temperatureSchedule": "Linear"}]
    pairs = [{"mixing": m, "order": "Second"} for m in get_args(Mixing)]
    pairs += [{"mixing": m, "perturbationRadius": "0.1"} for m in get_args(Mixing)]
    pairs += [{"mixing": m, "temperature": "0.05"} for m in get_args(Mixing)]
    pairs += [{"derivation": d, "eigenvalueStop": {}, "mixing": "Sigmoid"} for d in get_args(Derivation)]
    for method in get_args(Method):
        yield from ({"method": method, **fields} for fields in (*settings, *pairs))


@pytest.mark.apiserver
def test_the_api_server_refuses_the_same_combinations(searches: Server) -> None:
    refused, disagreements, count = 0, [], 0
    for fields in (*combinations(), *(fields for fields, _ in BAD.values())):
        resource = search(**fields)
        python, server = python_says(resource), server_says(searches, resource)
        count, refused = count + 1, refused + bool(python)
        if bool(python) != bool(server):
            disagreements.append(f"{fields}\n    python: {python or 'accepts'}\n    server: {server or 'accepts'}")
    assert not disagreements, f"{len(disagreements)} of {count}:\n" + "\n".join(disagreements[:20])
    assert 200 < refused < count - 200
