"""The library and the API server accept and refuse the same values, for every field of a spec."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from apiserver import Server, python_says, server_says
from specs import PLACEMENT, REMOVED, changed

from archsearch.api import ArchitectureSearchSpec
from archsearch.api.structural import structural

Json = dict[str, Any]

SCHEMA = structural(ArchitectureSearchSpec)
# Each member of a union that the good spec does not use, in its place.
VARIANTS: dict[str, Json] = {
    "good": {},
    "darts": {
        "spec.algorithm": {"differentiable": {}},
        "spec.evaluation": REMOVED,
        "spec.earlyStopping": REMOVED,
    },
    "enas": {"spec.algorithm": {"enas": {}}, "spec.evaluation": REMOVED, "spec.earlyStopping": REMOVED},
    "random on digits": {
        "spec.algorithm": {"random": {}},
        "spec.evaluation": {"train": {"epochs": 3}},
        "spec.space": {"nasBench201": {"search": {"channels": 4, "cells": 1}, "final": {"channels": 8, "cells": 1}}},
        "spec.task.imageClassification.dataset": {"builtin": "digits"},
    },
    "nasnet": {"spec.space": {"nasnetCells": {"operations": ["skip_connect"]}}},
    "macro": {"spec.space": {"enasMacro": {}}},
    "mbconv": {"spec.space": {"mbconvChain": {"stages": [{"channels": 8, "layers": 1}], "blocks": ["k3e1g2"]}}},
    "elastic": {
        "spec.space": {
            "elasticChain": {"stages": [{"channels": 8, "depths": [1, 2]}], "kernels": [3], "expansions": [2]}
        }
    },
    "trellis": {"spec.space": {"resolutionTrellis": {}}},
    "translation": {
        "spec.task": {"translation": {"dataset": {"volume": {"claimName": "pairs"}}, "numberWords": {"pairs": 500}}},
        "spec.space": {"elasticTransformer": {"widths": [8, 16], "encoderDepths": [2]}},
        "spec.objectives.0.metric": "bleu",
        "spec.earlyStopping": REMOVED,
    },
    "motifs": {"spec.space": {"hierarchicalMotifs": {}}},
    "questions": {
        "spec.task": {
            "visualQuestionAnswering": {
                "dataset": {"volume": {"claimName": "data"}},
                "training": {"adversarial": {"steps": 2, "stepSize": "0.1", "radius": "0.2"}},
            }
        },
        "spec.space": {"fusionNetwork": {"operators": ["film", "sum"]}},
    },
    "segmentation": {
        "spec.task": {
            "semanticSegmentation": {"dataset": {"volume": {"claimName": "d"}}, "crop": 64, "ignoredLabel": 255}
        },
        "spec.space": {"resolutionTrellis": {}},
        "spec.objectives.0.metric": "mIoU",
    },
    "detection": {
        "spec.task": {"objectDetection": {"dataset": {"volume": {"claimName": "d"}}, "width": 64, "height": 64}},
        "spec.space": {"featurePyramid": {}},
        "spec.objectives.0.metric": "mAP",
    },
    "custom": {
        "spec.space": {
            "custom": {
                "module": "mine.nets:Net",
                "choices": [
                    {"name": "depth", "options": ["1", "2"]},
                    {"name": "block/2", "options": ["a"], "when": [{"choice": "depth", "option": "2"}]},
                ],
                "search": {"width": "8"},
            }
        }
    },
    "a table": {
        "spec.evaluation": {
            "tabular": {"volume": {"claimName": "t"}, "columns": [{"metric": "accuracy", "column": "a"}]}
        },
        "spec.earlyStopping": REMOVED,
    },
    "scores": {"spec.evaluation": {"zeroCost": {}}, "spec.earlyStopping": REMOVED},
    "features": {"spec.algorithm": {"gaussianProcess": {"zeroCost": {"scores": ["synflow"]}}}},
    "halving": {"spec.evaluation.train.halving": {}, "spec.evaluation.train.prefilter": {}},
    "no profiles": {
        "spec.profiles": REMOVED,
        "spec.constraints": REMOVED,
        "spec.objectives.1": {"metric": "throughput", "profile": "default"},
    },
}
RESOURCES = "spec.trial.resources"
# What the API server is not asked for: it would cost more than a rule may. The operator says it in the status.
PYTHON_ALONE = "must depend on options of choices before them only"
# Pairs of a request and a limit that are equal in the API server's exact arithmetic.
EQUALS = [("cpu", "700m", "0.7"), ("memory", "1.5Ki", "1536"), ("nvidia\\.com/gpu", "1000", "1k")]
# The same schema as that of `trial`.
PLACEMENT_OF_PROFILE = tuple(f"spec.profiles.0.{name}" for name in PLACEMENT)
WRONG_TYPES: list[Any] = [None, True, 7, 7.5, -1, "x", "", [], ["x"], {}, {"x": "y"}]


def fields(node: Json, value: Any, path: str) -> Iterator[tuple[str, Json]]:
    """The path and schema of everything that the spec holds or may hold at this place."""
    yield path, node
    if node["type"] == "object":
        for name, child in node.get("properties", {}).items():
            inside = value.get(name) if isinstance(value, dict) else None
            # What is absent is tried as a whole; inside a union it would be a second member.
            if inside is None and "default" not in child and child["type"] == "object":
                continue
            yield from fields(child, inside, f"{path}.{name}")
        if "additionalProperties" in node:
            for name in value or {}:
                yield f"{path}.{name.replace('.', chr(92) + '.')}", node["additionalProperties"]
    elif node["type"] == "array" and value:
        for index, item in enumerate(value):
            yield from fields(node["items"], item, f"{path}.{index}")


def values(node: Json) -> Iterator[Any]:
    """Values around every limit of a schema, and values of every type."""
    yield from WRONG_TYPES
    yield from node.get("enum", [])
    if node["type"] == "integer":
        low, high = node["minimum"], node["maximum"]
        yield from (low - 1, low, low + 1, high - 1, high, high + 1, 2**31, 2**63)
    if node["type"] == "string" and "enum" not in node:
        size = node["maxLength"]
        yield from (
            "a" * size,
            "a" * (size + 1),
            "1" * size,
            "1" * (size + 1),
            "é",
            "a b",
            "a/b",
            "a.b",
            "a..b",
            "A",
            "-",
        )
        yield from (
            "0",
            "1",
            "0.5",
            "1.",
            ".5",
            "00.10",
            "1k",
            "1Ki",
            "-1",
            "1e3",
            "0.0000000001",
            "1\n",
            "../a",
            "a\n",
        )


def cases() -> Iterator[tuple[str, Json]]:
    """What is tried, in words, and the resource. A field that an earlier variant holds as well is tried there only."""
    tried = set()
    for name, changes in VARIANTS.items():
        base = changed(changes)
        for path, node in fields(SCHEMA, base["spec"], "spec"):
            if path.startswith(PLACEMENT_OF_PROFILE):
                continue
            for value in [*values(node), REMOVED]:
                written = "removed" if value is REMOVED else json.dumps(value)
                if (path, written) in tried or (value is REMOVED and not _present(base, path)):
                    continue
                tried.add((path, written))
                yield f"{name}: {path} = {written[:60]}", changed({path: value}, base)


def _present(resource: Json, path: str) -> bool:
    """Whether there is a field at the path; a position in a list is not one."""
    try:
        changed({path: REMOVED}, resource)
    except (KeyError, IndexError):
        return False
    return not path.rpartition(".")[2].isdecimal()


@pytest.mark.apiserver
@pytest.mark.parametrize(("resource", "request_", "limit"), EQUALS)
def test_a_request_that_is_equal_to_its_limit_in_other_words(
    searches: Server, resource: str, request_: str, limit: str
) -> None:
    spec = changed({f"{RESOURCES}.requests.{resource}": request_, f"{RESOURCES}.limits.{resource}": limit})
    assert (python_says(spec), server_says(searches, spec)) == ("", "")


@pytest.mark.apiserver
def test_every_value_of_every_field(searches: Server) -> None:
    accepted, refused, disagreements = 0, 0, []
    for name, resource in cases():
        python, server = python_says(resource), server_says(searches, resource)
        if PYTHON_ALONE in python:
            continue
        if bool(python) != bool(server):
            disagreements.append(f"{name}\n    python: {python or 'accepts'}\n    server: {server or 'accepts'}")
        elif python:
            refused += 1
        else:
            accepted += 1
    assert not disagreements, f"{len(disagreements)} of {accepted + refused}:\n" + "\n".join(disagreements[:40])
    assert accepted > 500
    assert refused > 1_500
