"""Profile: what the final network costs on this node."""

from __future__ import annotations

from archsearch.api.metrics import metric_key
from archsearch.api.work import Message
from archsearch.hardware import MEBIBYTE, measure
from archsearch.networks import SpaceNetwork
from archsearch.work.context import Context
from archsearch.work.errors import UserError
from archsearch.work.metrics import series


def run(context: Context) -> Message:
    """Measure the final network with new weights: its cost does not depend on their values.

    Metrics: latencyMs (the median), throughput and peakMemoryMiB, each as `metric@profile`; parameters and flops.
    """
    profile = context.work.profile
    if profile is None:
        raise UserError("profile must be set for Profile")
    architecture = context.architecture
    network: SpaceNetwork = context.network(architecture, "final")
    found = measure(network, context.inputs, profile, context.device)
    latency = found.latency_ms
    context.log(
        f"{found.device}: p50 {latency.p50:.3f} ms, p95 {latency.p95:.3f} ms, p99 {latency.p99:.3f} ms, "
        f"{found.throughput:.1f} examples/s, {found.peak_memory_mib:.1f} MiB, {found.parameters:,} parameters, "
        f"{found.flops:,} FLOPs"
    )
    quantiles = {"0.5": latency.p50, "0.95": latency.p95, "0.99": latency.p99}
    context.metrics.set(
        {series("archsearch_trial_latency_seconds", quantile=q): value / 1000 for q, value in quantiles.items()}
        | {
            series("archsearch_trial_throughput"): found.throughput,
            series("archsearch_trial_peak_memory_bytes"): found.peak_memory_mib * MEBIBYTE,
            series("archsearch_trial_parameters"): found.parameters,
            series("archsearch_trial_flops"): found.flops,
        }
    )
    return Message(
        metrics={
            metric_key("latencyMs", profile.name): latency.p50,
            metric_key("throughput", profile.name): found.throughput,
            metric_key("peakMemoryMiB", profile.name): found.peak_memory_mib,
            "parameters": found.parameters,
            "flops": found.flops,
        },
        architecture=dict(architecture.values),
        profile=found,
    )
