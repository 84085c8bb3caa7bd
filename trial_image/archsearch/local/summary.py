"""The end of a run, for people: what was found, how it was measured, and where it lies."""

from __future__ import annotations

import os
from pathlib import Path

from archsearch.api.search import ArchitectureSearchStatus, Retrained
from archsearch.local.folder import Folder
from archsearch.local.log import printable
from archsearch.local.model import KEPT, WEIGHTS


def succeeded(status: ArchitectureSearchStatus) -> bool:
    """Whether the search has ended with a result."""
    return any(item.type == "Succeeded" and item.status == "True" for item in status.conditions)


def summary(status: ArchitectureSearchStatus, folder: Folder) -> list[str]:
    """Lines; the first says how it ended."""
    rows: list[tuple[str, str]] = []
    if (found := status.best) is not None:
        # What the profiles measured has rows of its own.
        metrics = ", ".join(f"{name} {_number(value)}" for name, value in found.metrics.items() if "@" not in name)
        rows += [("best", f"{found.trial}, genotype {found.genotype_id}"), ("search", metrics)]
        if (again := found.retrained) is not None:
            rows.append(("retrained", f"{again.metric} {again.mean:.4f} {_over(again)}"))
    for item in status.hardware:
        latency = item.latency_ms
        quantiles = f"p50 {latency.p50:.3f} ms, p95 {latency.p95:.3f} ms, p99 {latency.p99:.3f} ms"
        rows.append((item.profile, f"{printable(item.device)}: {quantiles} at batch {item.batch_size}"))
        rows.append(("", f"{item.throughput:,.0f} examples/s, {item.peak_memory_mib:.1f} MiB"))
        rows.append(("", f"{item.parameters:,} parameters, {item.flops:,} FLOPs an example"))
    if found is not None and found.export_difference is not None:
        rows.append(("ONNX", f"differs from PyTorch by at most {found.export_difference:.1e}"))
    there = {item.name for item in folder.root.iterdir()}
    names = [name for name in ("result.json", "model.onnx", WEIGHTS) if name in there]
    names += sorted(name for name in there - set(names) if KEPT.fullmatch(name))
    rows.append(("files", f"{', '.join(names)} in {shown(folder.root)}"))
    width = max(len(name) for name, _ in rows) + 2
    return [_ending(status), *(f"  {name:<{width}}{text}" for name, text in rows)]


def shown(path: Path) -> str:
    """A path as one would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _ending(status: ArchitectureSearchStatus) -> str:
    trials = f"{status.trials.done} trials"
    for item in status.conditions:
        if item.type == "Succeeded":
            if item.status == "True":
                return f"done: {trials}"
            if item.status == "False":
                return f"ended without a result: {item.reason}: {printable(item.message)}"
    return f"not finished: {trials}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"


def _over(again: Retrained) -> str:
    # One training has no deviation: a zero would look like certainty.
    return "from one seed" if again.seeds == 1 else f"± {again.std:.4f} over {again.seeds} seeds"
