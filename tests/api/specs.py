"""A spec that sets every field, and ways to change one of them."""

import copy
import json
import re
from typing import Any

Json = dict[str, Any]

REMOVED = object()
"""Instead of a value: the field is left out."""

PLACEMENT: Json = {
    "resources": {
        "requests": {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1G"},
        "limits": {"memory": "2Gi", "nvidia.com/gpu": "1"},
    },
    "nodeSelector": {"kubernetes.io/arch": "amd64", "gpu": "t4"},
    "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60},
        {"operator": "Exists"},
    ],
    "runtimeClassName": "nvidia",
}
GOOD: Json = {
    "apiVersion": "archsearch.dev/v1alpha1",
    "kind": "ArchitectureSearch",
    "metadata": {"name": "good"},
    "spec": {
        "task": {
            "imageClassification": {
                "dataset": {"volume": {"claimName": "data", "path": "cifar10/images.npz"}},
                "selectionPercent": 20,
                "training": {
                    "batchSize": 64,
                    "learningRate": "0.05",
                    "momentum": "0.9",
                    "weightDecay": "0",
                    "gradientClip": "5",
                    "augmentation": "ShiftFlip",
                },
            }
        },
        "space": {
            "dartsCells": {
                "nodes": 4,
                "operations": ["none", "skip_connect", "sep_conv_3x3"],
                "search": {"channels": 16, "cells": 8},
                "final": {"channels": 36, "cells": 20},
            }
        },
        "algorithm": {"regularizedEvolution": {"population": 20, "sample": 5}},
        "evaluation": {"train": {"epochs": 10}},
        "objectives": [
            {"metric": "accuracy", "goal": "Maximize"},
            {"metric": "latencyMs", "goal": "Minimize", "profile": "t4"},
        ],
        "constraints": [
            {"metric": "parameters", "min": "10k", "max": "5M"},
            {"metric": "latencyMs", "profile": "t4", "max": "12.5"},
        ],
        "profiles": [
            {"name": "t4", "runtime": "Torch", "batchSize": 1, "warmup": 10, "iterations": 100, **PLACEMENT},
            {"name": "cpu"},
        ],
        "budget": {
            "maxTrials": 40,
            "parallelTrials": 4,
            "maxFailedTrials": 5,
            "gpuHours": "60",
            "pricePerGpuHour": "2.5",
            "activeDeadlineSeconds": 172800,
        },
        "earlyStopping": {"medianStop": {"graceEpochs": 5, "minTrials": 3}},
        "retrain": {"topK": 2, "seeds": 3, "epochs": 300},
        "export": {"format": "ONNX"},
        "artifacts": {"claimName": "artifacts", "path": "cifar"},
        "trial": {
            "image": "registry.example.org/archsearch/trial:1",
            "imagePullPolicy": "Always",
            "activeDeadlineSeconds": 3600,
            **PLACEMENT,
        },
        "queue": {"name": "team-a", "priorityClass": "nas"},
        "suspend": False,
        "seed": 7,
    },
}


def changed(changes: Json, base: Json = GOOD) -> Json:
    """A copy of the resource with other values at dotted paths; a dot in a name is written `\\.`."""
    # Not deepcopy: it would keep what the base shares between two places shared.
    resource: Json = json.loads(json.dumps(base))
    for path, value in changes.items():
        *parents, last = (part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path))
        node: Any = resource
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        if isinstance(node, list):
            node[int(last)] = copy.deepcopy(value)
        elif value is REMOVED:
            del node[last]
        else:
            node[last] = copy.deepcopy(value)
    return resource
