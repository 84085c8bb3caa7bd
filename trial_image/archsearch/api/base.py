"""What every model of the API shares: camelCase on the wire, frozen in memory, no floats in a spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

GROUP: Final = "archsearch.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

SUFFIXES: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
DECIMAL_PATTERN: Final = r"^[0-9]{1,12}(\.[0-9]{1,9})?$"
QUANTITY_PATTERN: Final = r"^[0-9]{1,12}(\.[0-9]{1,9})?[kMGT]?$"
FRACTION_PATTERN: Final = r"^0(\.[0-9]{1,9})?$"
LABEL_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_KEY_PATTERN: Final = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
)

CEL_RULES: Final = "x-kubernetes-validations"
"""Where a schema holds its CEL rules."""


def _positive(text: str) -> str:
    if not Decimal(text):
        raise ValueError("must be greater than 0")
    return text


DecimalString = Annotated[str, StringConstraints(pattern=DECIMAL_PATTERN, max_length=24)]
# RE2 has no look-ahead, so a pattern cannot say this readably: a decimal is positive if one of its digits is.
PositiveDecimal = Annotated[
    DecimalString,
    AfterValidator(_positive),
    Field(json_schema_extra={CEL_RULES: [{"rule": "self.matches('[1-9]')", "message": "must be greater than 0"}]}),
]
Fraction = Annotated[str, StringConstraints(pattern=FRACTION_PATTERN, max_length=12)]
Quantity = Annotated[str, StringConstraints(pattern=QUANTITY_PATTERN, max_length=24)]
ObjectName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=253)]
# A name that Jobs carry as the value of a label.
LabelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=63)]
ShortName = Annotated[str, StringConstraints(pattern=LABEL_PATTERN, min_length=1, max_length=40)]
LabelValue = Annotated[str, StringConstraints(pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$", max_length=63)]
LabelKey = Annotated[str, StringConstraints(pattern=LABEL_KEY_PATTERN, min_length=1, max_length=317)]
# Kubernetes' own resource quantity: an integer, a decimal, or either with a suffix such as m, Mi or G.
ResourceQuantity = Annotated[
    str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?([KMGTPE]i|[numkMGTPE])?$", max_length=24)
]

MODULE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
ModuleName = Annotated[str, StringConstraints(pattern=MODULE_PATTERN, max_length=255)]
"""A class in the trial's image: `package.module:Name`."""

ChoiceValue = str | int | tuple[int, ...]
"""What one choice of an architecture may be: an operation or a word, a number, or a set of positions."""


class Rule(BaseModel):
    """A CEL rule of the CRD: `expression` must hold of the object, otherwise the API server says `message`."""

    model_config = ConfigDict(frozen=True)
    expression: str
    message: str
    field_path: str | None = None


def cel_list(words: Iterable[str]) -> str:
    """The words as a list in CEL."""
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


def distinct(*fields: str) -> tuple[tuple[Rule, ...], tuple[Callable[[Any], str | None], ...]]:
    """The rules and checks of a model that no list in these fields, named as in a spec, holds anything twice."""
    rules = tuple(
        Rule(
            expression=f"self.{field}.all(o, self.{field}.exists_one(p, p == o))",
            message=f"{field} must be different from each other",
            field_path=f".{field}",
        )
        for field in fields
    )
    return rules, tuple(partial(_repeated, field) for field in fields)


def _repeated(field: str, model: Any) -> str | None:
    values = getattr(
        model, next(name for name, info in type(model).model_fields.items() if field in (name, info.alias))
    )
    if len(set(values)) == len(values):
        return None
    return f"{field} must be different from each other, but got {', '.join(map(str, values))}"


def at_most(smaller: str, larger: str) -> str:
    """The CEL expression that one quantity is at most another; true where one is malformed, which is said elsewhere."""
    return f"!isQuantity({smaller}) || !isQuantity({larger}) || quantity({smaller}).compareTo(quantity({larger})) <= 0"


class Model(BaseModel):
    """Base of all API models. `rules` are the CEL rules that the CRD generator writes for the model.

    `checks` are the same rules in Python, so that a file is refused without a cluster with the same words:
    each takes the model and returns what is wrong, as "field must …, but got …" where one field is to blame, or None.
    Several problems are separated by "; ".
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", use_attribute_docstrings=True
    )
    rules: ClassVar[tuple[Rule, ...]] = ()
    checks: ClassVar[tuple[Callable[[Any], str | None], ...]] = ()

    @model_validator(mode="after")
    def _check(self) -> Model:
        problems = [problem for check in type(self).checks if (problem := check(self)) is not None]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def wire(self) -> dict[str, Any]:
        """The model as Kubernetes has it: camelCase keys, absent values left out."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class OneOf(Model):
    """A union: exactly one member is set. Each member's value says all there is to say about it."""

    @classmethod
    def members(cls) -> list[str]:
        """The members' names as written in a spec."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def requirement(cls) -> str:
        """What must hold of a union, in words."""
        members = cls.members()
        return f"exactly one of {', '.join(members)} must be set" if len(members) > 1 else f"{members[0]} must be set"

    @model_validator(mode="after")
    def _exactly_one(self) -> OneOf:
        chosen = [
            field.alias or name for name, field in type(self).model_fields.items() if getattr(self, name) is not None
        ]
        if len(chosen) != 1:
            raise ValueError(f"{self.requirement()}, but got {', '.join(chosen) if chosen else 'none'}")
        return self

    @property
    def member(self) -> tuple[str, Any]:
        """The name, as written in a spec, and the value of the member that is set."""
        for name, field in type(self).model_fields.items():
            if (value := getattr(self, name)) is not None:
                return field.alias or name, value
        raise AssertionError("a validated union has a member")


def quantity(text: str) -> float:
    """The number that a quantity such as "12.5" or "5M" stands for (decimal suffixes k, M, G, T)."""
    suffix = text[-1] if text[-1] in SUFFIXES else ""
    return float(Decimal(text[: len(text) - len(suffix)]) * SUFFIXES[suffix])


Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
MAX_BATCH: Final = 64
"""Most architectures that one trial is given: what it says of all of them must fit in a container's last message."""
Epochs = Annotated[int, Field(ge=1, le=10_000)]


def _int64(value: int) -> int:
    if not 0 <= value < 2**63:
        raise ValueError("must be at least 0 and below 2^63, which is all that the API server can hold")
    return value


# A bound in the schema would be a double, which does not tell 2^63 from its neighbours.
Int64 = Annotated[int, AfterValidator(_int64)]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
