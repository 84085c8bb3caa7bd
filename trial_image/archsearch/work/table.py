"""Table: measure whole networks on this node, and fit what each option of the space adds to their latency."""

from __future__ import annotations

from typing import Final

import numpy as np

from archsearch.api.metrics import metric_key
from archsearch.api.work import Message
from archsearch.hardware import device_name
from archsearch.hardware.costs import fit
from archsearch.hardware.paced import Paced
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

    first = context.space.sample(np.random.default_rng(context.work.spec.seed))
    paced = Paced(context.network(first, "final"), context.inputs, profile, context.device)

    def latency(architecture: Architecture) -> float:
        if context.interruption.requested():
            raise Interrupted
        done.append(paced(context.network(architecture, "final")))
        if len(done) % SAY == 0:
            low, high = (paced.reference * ratio for ratio in (min(done), max(done)))
            context.log(f"{len(done)} of {networks} networks: {low:.3f} to {high:.3f} ms")
        return done[-1]

    relative = fit(
        context.space,
        latency,
        networks,
        metric="latencyMs",
        shape=context.data.signature.shape,
        seed=context.work.spec.seed,
        device=device_name(context.device),
        runtime=profile.runtime,
        batch_size=profile.batch_size,
    )
    table, median = relative.scaled(paced.reference), paced.reference * float(np.median(done))
    context.log(f"off by {table.error:.1%} on networks that it was not fitted to; median {median:.3f} ms")
    artifact = write_artifact(context, TABLE, table.model_dump_json(by_alias=True).encode())
    key = metric_key("latencyMs", profile.name)
    return Message(metrics={"networks": networks, "tableError": table.error, key: median},
                   artifacts=(artifact,))  # fmt: skip
