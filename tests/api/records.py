"""A trial and the status of both kinds, with every field set."""

from typing import Any

Json = dict[str, Any]

ARCHITECTURE: Json = {"normal/2/inputs": [0, 1], "normal/2/0": "sep_conv_3x3", "depth": 3}
SHA = "0123456789abcdef" * 4
HARDWARE: Json = {
    "profile": "cpu",
    "device": "Intel(R) Xeon(R)",
    "runtime": "Torch",
    "batchSize": 1,
    "latencyMs": {"p50": 1.25, "p95": 2.5, "p99": 3.75},
    "throughput": 800.5,
    "peakMemoryMiB": 12.5,
    "parameters": 123456,
    "flops": 9_876_543_210,
}
ARTIFACT: Json = {"uri": "pvc://artifacts/best/model.onnx", "sha256": SHA, "format": "onnx"}
SEARCH_STATUS: Json = {
    "observedGeneration": 1,
    "defaults": [{"field": "algorithm", "value": "gaussianProcess", "reason": "budget.maxTrials is 60"}],
    "conditions": [
        {
            "type": "Succeeded",
            "status": "True",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": "Done",
            "message": "The best architecture was retrained and exported.",
        }
    ],
    "stage": "Done",
    "startTime": "2026-01-01T00:00:00Z",
    "completionTime": "2026-01-01T01:00:00Z",
    "trials": {
        "total": 16, "pending": 0, "queued": 0, "running": 3, "succeeded": 12, "failed": 1, "infeasible": 0,
        "stopped": 0, "preemptions": 2, "done": "13/16",
    },
    "best": {
        "trial": "good-abcde-3",
        "genotype": ARCHITECTURE,
        "genotypeId": "0123456789ab",
        "metrics": {"accuracy": 0.9375, "latencyMs@cpu": 1.25},
        "objective": "0.9375",
        "retrained": {"metric": "accuracy", "mean": 0.96875, "std": 0.0078125, "seeds": 2},
        "artifacts": [ARTIFACT],
        "exportDifference": 2e-06,
    },
    "front": [{"trial": "good-abcde-3", "genotypeId": "0123456789ab", "metrics": {"accuracy": 0.9375}}],
    "hardware": [HARDWARE],
    "usage": {"gpuHours": 1.5, "estimatedCost": 3.75},
    "reproducibility": {
        "seed": 7,
        "spaceHash": "0123456789ab",
        "imageDigest": f"registry.example.org/trial@sha256:{SHA}",
        "operatorVersion": "0.1.0",
        "settingsAfterDefaults": {"budget": {"maxTrials": 16}, "objectives": [{"metric": "accuracy"}]},
    },
}  # fmt: skip
TRIAL_SPEC: Json = {
    "work": "Retrain",
    "index": 3,
    "seed": 2**53 - 1,
    "architecture": ARCHITECTURE,
    "epochs": 10,
    "profile": "cpu",
    "observed": 12,
    "source": "good-abcde-1",
    "weights": {"uri": "pvc://artifacts/weights.safetensors", "sha256": SHA},
}
TRIAL_STATUS: Json = {
    "state": "Succeeded",
    "reason": "Completed",
    "message": "Trained for 10 epochs.",
    "sequence": 4,
    "result": {
        "metrics": {"accuracy": 0.9375, "loss": 0.25},
        "architecture": ARCHITECTURE,
        "profile": HARDWARE,
        "results": [{"accuracy": 0.5}, {}],
        "proposals": ["0", "1037664180"],
        "artifacts": [ARTIFACT],
        "curve": [{"epoch": 1, "value": 0.5}, {"epoch": 10, "value": 0.9375}],
    },
    "metricsReading": {"available": False, "reason": "NoServer", "message": "connection refused"},
    "startTime": "2026-01-01T00:00:00Z",
    "completionTime": "2026-01-01T01:00:00Z",
    "acceleratorSeconds": 3600.5,
    "preemptions": 1,
    "node": "node1",
    "pod": "s-abcde-0-x7k2p",
    "imageDigest": f"registry.example.org/trial@sha256:{SHA}",
    "objective": "0.9375",
}


def trial(spec: Json = TRIAL_SPEC, name: str = "trial") -> Json:
    metadata = {"name": name}
    return {"apiVersion": "archsearch.dev/v1alpha1", "kind": "ArchitectureTrial", "metadata": metadata, "spec": spec}
