"""Where pods run and what they ask for: the pods that do the work, and the hardware that is measured."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from archsearch.api.base import (
    LABEL_PATTERN,
    LabelKey,
    LabelName,
    LabelValue,
    Model,
    ObjectName,
    OneOf,
    ResourceQuantity,
    Rule,
    ShortName,
    at_most,
    cel_list,
)


class Toleration(Model):
    """A taint that the pod tolerates, as in a pod."""

    key: LabelKey | None = None
    """The taint's key; every key where it is left out and the operator is `Exists`."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How the value is compared."""
    value: LabelValue | None = None
    """The taint's value, for `Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; every effect where it is left out."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds for which a NoExecute taint is tolerated."""

    # What the API server says of a pod, said before there is one.
    rules = (
        Rule(
            expression="self.operator != 'Exists' || !has(self.value) || self.value == ''",
            message="value must be left out for the operator Exists",
            field_path=".value",
        ),
        Rule(
            expression="self.operator == 'Exists' || has(self.key)",
            message="key must be set for the operator Equal",
            field_path=".key",
        ),
        Rule(
            expression="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="tolerationSeconds must only be set for the effect NoExecute",
            field_path=".tolerationSeconds",
        ),
    )
    checks = (
        lambda self: None if self.operator != "Exists" or not self.value else
        f"value must be left out for the operator Exists, but got {self.value}",
        lambda self: None if self.operator == "Exists" or self.key else "key must be set for the operator Equal",
        lambda self: None if self.toleration_seconds is None or self.effect == "NoExecute" else
        f"tolerationSeconds must only be set for the effect NoExecute, but got {self.effect or 'none'}",
    )  # fmt: skip


_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage")
_KNOWN: Final = f"must name {', '.join(_RESOURCES)}, or a resource with a domain such as nvidia.com/gpu"
# What the API server says of a pod that asks for an extended resource, said before there is one.
_WHOLE_ONLY: Final = "must be whole numbers for resources with a domain"
_EQUAL: Final = "must be equal to the limits for resources with a domain"
_WHOLE: Final = "^[0-9]+([kMGTPE]i?)?$"
_RESOURCE_SUFFIXES: Final[dict[str, Decimal | int]] = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": 1,
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip


def _amount(text: str) -> Decimal:
    # Exact, as the API server counts: in floats 700m is more than 0.7.
    number = text.rstrip("numkKMGTPEi")
    return Decimal(number) * _RESOURCE_SUFFIXES[text[len(number) :]]


def _unknown_resources(self: Resources) -> str | None:
    unknown = {
        "requests": [name for name in self.requests if name not in _RESOURCES and "/" not in name],
        "limits": [name for name in self.limits if name not in _RESOURCES and "/" not in name],
    }
    problems = [f"{side} {_KNOWN}, but got {', '.join(names)}" for side, names in unknown.items() if names]
    return "; ".join(problems) or None


def _requests_beyond_limits(self: Resources) -> str | None:
    beyond = [f"{name} {amount} > {self.limits[name]}" for name, amount in self.requests.items()
              if name in self.limits and _amount(amount) > _amount(self.limits[name])]  # fmt: skip
    return f"requests must not be greater than limits, but got {', '.join(beyond)}" if beyond else None


def _fractions_of_devices(self: Resources) -> str | None:
    parts = [f"{name} {amount}" for name, amount in self.limits.items()
             if "/" in name and not re.match(_WHOLE, amount)]  # fmt: skip
    return f"limits {_WHOLE_ONLY}, but got {', '.join(parts)}" if parts else None


def _requests_unlike_limits(self: Resources) -> str | None:
    unlike = [name for name, amount in self.requests.items()
              if "/" in name and (name not in self.limits or _amount(amount) < _amount(self.limits[name]))]  # fmt: skip
    found = ", ".join(f"{name} {self.requests[name]} and the limit {self.limits.get(name, 'none')}" for name in unlike)
    return f"requests {_EQUAL}, but got {found}" if found else None


class Resources(Model):
    """What the pod asks for, as in a container."""

    requests: dict[LabelKey, ResourceQuantity] = Field(default={}, max_length=16)
    """What the scheduler sets aside; of extended resources it is what the limits say, and can be left out."""
    limits: dict[LabelKey, ResourceQuantity] = Field(default={}, max_length=16)
    """What the pod may not exceed; extended resources such as `nvidia.com/gpu` go here."""

    rules = (
        *(
            Rule(
                expression=f"self.{side}.all(name, name in {cel_list(_RESOURCES)} || name.contains('/'))",
                message=f"{side} {_KNOWN}",
                field_path=f".{side}",
            )
            for side in ("requests", "limits")
        ),
        Rule(
            expression=f"self.requests.all(name, !(name in self.limits) || "
            f"{at_most('self.requests[name]', 'self.limits[name]')})",
            message="requests must not be greater than limits",
            field_path=".requests",
        ),
        Rule(
            expression=f"self.limits.all(name, !name.contains('/') || self.limits[name].matches('{_WHOLE}'))",
            message=f"limits {_WHOLE_ONLY}",
            field_path=".limits",
        ),
        # That they are not greater is said above; what is equal to a whole number is whole.
        Rule(
            expression="self.requests.all(name, !name.contains('/') || (name in self.limits && "
            f"({at_most('self.limits[name]', 'self.requests[name]')})))",
            message=f"requests {_EQUAL}",
            field_path=".requests",
        ),
    )
    checks = (_unknown_resources, _requests_beyond_limits, _fractions_of_devices, _requests_unlike_limits)


class Placement(Model):
    """Where a pod runs and what it asks for."""

    resources: Resources = Resources(
        requests={"cpu": "1", "memory": "2Gi"},
        limits={"memory": "4Gi"},
    )
    """CPU, memory and accelerators of the pod."""
    node_selector: dict[LabelKey, LabelValue] = Field(default={}, max_length=16)
    """Labels that the node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints that the pod tolerates."""
    runtime_class_name: ObjectName | None = None
    """The RuntimeClass of the pod."""


class MeasuredTable(Model):
    """Measure whole networks on the profile's nodes before the search, and fit what each option adds."""

    networks: Annotated[int, Field(ge=20, le=5_000)] = 100
    """Random networks that are measured; the more options a space has the more it takes. The trial's message says how
    far the table is off on networks that it was not fitted to."""


class TrialMeasurement(Model):
    """Each trial measures its own network where it runs: for profiles that are the trials' own hardware."""


class SearchLatency(OneOf):
    """How latencyMs of a profile is known of every architecture while searching."""

    measured_table: MeasuredTable | None = None
    """From a table that is measured first."""
    shipped_table: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=LABEL_PATTERN)] | None = None
    """From a table that the trial image carries."""
    trial: TrialMeasurement | None = None
    """By measuring each network in its trial."""


class Profile(Placement):
    """Hardware on which candidates are measured."""

    name: ShortName
    """The name by which objectives and constraints refer to it."""
    runtime: Literal["Torch"] = "Torch"
    """What runs the network: `Torch` is eager PyTorch."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Images at once."""
    warmup: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Runs before the first that counts."""
    iterations: Annotated[int, Field(ge=10, le=100_000)] = 100
    """Runs that count."""
    search_latency: SearchLatency | None = None
    """How latencyMs of this profile is known while searching. Where it is left out only the candidates that the search
    has found are measured, and those beyond a limit are dropped then."""


class TrialTemplate(Placement):
    """The pods that do the work."""

    image: Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\s]+$")] | None = None
    """The trial image; the operator's own default where it is left out."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the image is pulled."""
    active_deadline_seconds: Annotated[int, Field(ge=10, le=31_536_000)] = 86_400
    """Seconds after which a single trial is stopped and counts as failed."""


class Queue(Model):
    """Kueue admits the Jobs: they are created suspended and start when the queue has room."""

    name: LabelName
    """The LocalQueue."""
    priority_class: LabelName | None = None
    """The WorkloadPriorityClass."""
