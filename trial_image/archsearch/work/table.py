"""Table: measure whole networks on this node, and fit what each option of the space adds to their latency."""

from __future__ import annotations

from typing import Final

import numpy as np

from archsearch.api.metrics import metric_key
from archsearch.api.work import Message
from archsearch.hardware import device_name, measure
from archsearch.hardware.costs import fit
from archsearch.spaces import Architecture
from archsearch.work.artifacts import TABLE, write_artifact
from archsearch.work.context import Context
from archsearch.work.errors import UserError
from archsearch.work.interruption import Interrupted

SAY: Final = 10
"""Networks between two lines of the log."""


def run(context: Context) -> Message:
    """Measure random final networks, as many as the profile says, and write the table as an artifact.

    Metrics: networks, and tableError, the mean absolute error on networks that the table was not fitted to, as a share.
    An interruption loses the measurements: on another node they would be others.
    """
    profile = context.work.profile
    if profile is None or profile.search_latency is None or profile.search_latency.measured_table is None:
        raise UserError("profile must be set for Table, with searchLatency.measuredTable")
    networks = profile.search_latency.measured_table.networks
    done: list[float] = []

    def latency(architecture: Architecture) -> float:
        if context.interruption.requested():
            raise Interrupted
        found = measure(context.network(architecture, "final"), context.data.shape, profile, context.device)
        done.append(found.latency_ms.p50)
        if len(done) % SAY == 0:
            context.log(f"{len(done)} of {networks} networks: {min(done):.3f} to {max(done):.3f} ms")
        return found.latency_ms.p50

    table = fit(
        context.space,
        latency,
        networks,
        metric="latencyMs",
        shape=context.data.shape,
        seed=context.work.spec.seed,
        device=device_name(context.device),
        runtime=profile.runtime,
        batch_size=profile.batch_size,
    )
    context.log(f"off by {table.error:.1%} on networks that it was not fitted to; median {np.median(done):.3f} ms")
    artifact = write_artifact(context, TABLE, table.model_dump_json(by_alias=True).encode())
    key = metric_key("latencyMs", profile.name)
    return Message(metrics={"networks": networks, "tableError": table.error, key: float(np.median(done))},
                   artifacts=(artifact,))  # fmt: skip
