"""Writes the CustomResourceDefinitions of both resources: `python -m archsearch.api.crd [DIR]`, by default `crds`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from archsearch.api import search, trial
from archsearch.api.base import CEL_RULES, GROUP, LABEL_PATTERN, VERSION, Model
from archsearch.api.search import MAX_NAME, MUTABLE, ArchitectureSearchSpec, ArchitectureSearchStatus
from archsearch.api.structural import Schema, structural
from archsearch.api.trial import ArchitectureTrialSpec, ArchitectureTrialStatus

CATEGORY: Final = "archsearch"
HEADER: Final = "# Generated from the models by `python -m archsearch.api.crd`: edit those, not this file.\n"
MAX_LABEL: Final = 63

AGE: Final = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def _column(name: str, path: str, description: str, priority: int = 0) -> Schema:
    column = {"name": name, "type": "string", "jsonPath": path, "description": description}
    return column | ({"priority": priority} if priority else {})


def _succeeded(field: str) -> str:
    return f'.status.conditions[?(@.type=="Succeeded")].{field}'


def _immutable_fields(model: type[Model], mutable: tuple[str, ...]) -> list[Schema]:
    """Rules that hold every other field of the model to its first value.

    They stand on the parent: a rule on the field itself is skipped where the old object lacks the field, so that
    removing it and adding another would be allowed.
    """
    names = [field.alias or name for name, field in model.model_fields.items()]
    return [
        {
            "rule": f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})",
            "message": f"{name} is immutable: create another search instead; only {', '.join(mutable)} can be changed",
            "fieldPath": f".{name}",
        }
        for name in names
        if name not in mutable
    ]


@dataclass(frozen=True)
class Resource:
    """One of the two kinds: its names, its models, and what `kubectl get` shows of it.

    max_name: longest name of an object; names are DNS labels, because names of Jobs and labels are made of them.
    rules: CEL rules on the spec beyond those of its models.
    """

    kind: str
    plural: str
    short_name: str
    description: str
    spec: type[Model]
    status: type[Model]
    max_name: int
    rules: tuple[Schema, ...]
    columns: tuple[Schema, ...]


SEARCH: Final = Resource(
    kind=search.KIND,
    plural=search.PLURAL,
    short_name="nas",
    description="A neural architecture search: what is to be learnt, which architectures are tried, and what it may "
    "use. A task and a budget are enough.",
    spec=ArchitectureSearchSpec,
    status=ArchitectureSearchStatus,
    max_name=MAX_NAME,
    rules=tuple(_immutable_fields(ArchitectureSearchSpec, MUTABLE)),
    columns=(
        _column("Stage", ".status.stage", "Preflight, Search, Profile, Retrain, Export or Done."),
        _column("Trials", ".status.trials.done", "Trials ended, of the trials that the budget allows."),
        {
            "name": "Running",
            "type": "integer",
            "jsonPath": ".status.trials.running",
            "description": "Trials running now.",
        },
        _column("Best", ".status.best.objective", "The first objective's best value so far."),
        _column("Succeeded", _succeeded("status"), "Whether the search ended with a result.", priority=1),
        _column("Reason", _succeeded("reason"), "Why, in one word.", priority=1),
        _column("Message", _succeeded("message"), "Why.", priority=1),
        AGE,
    ),
)

TRIAL: Final = Resource(
    kind=trial.TRIAL_KIND,
    plural=trial.TRIAL_PLURAL,
    short_name="nastrial",
    description="The record of one piece of work of a search, and its result. The operator writes it.",
    spec=ArchitectureTrialSpec,
    status=ArchitectureTrialStatus,
    max_name=MAX_LABEL,
    rules=({"rule": "self == oldSelf", "message": "spec is immutable: a trial is a record of what was done"},),
    columns=(
        _column("Work", ".spec.work", "The kind of work."),
        _column("State", ".status.state", "Pending, Queued, Running, Succeeded, Failed, Infeasible or Stopped."),
        _column("Objective", ".status.objective", "The first objective's value."),
        _column("Node", ".status.node", "The node it ran on.", priority=1),
        _column("Reason", ".status.reason", "Why it is in this state, in one word.", priority=1),
        AGE,
    ),
)

RESOURCES: Final = (SEARCH, TRIAL)


def _root(resource: Resource) -> Schema:
    spec = structural(resource.spec)
    spec[CEL_RULES] = [*spec.get(CEL_RULES, ()), *resource.rules]
    # The operator writes the whole status; a value that nobody wrote would be a lie.
    status = structural(resource.status, defaults=False)
    return {
        "description": resource.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"{GROUP}/{VERSION}", "type": "string"},
            "kind": {"description": resource.kind, "type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
        CEL_RULES: [
            {
                "rule": f"size(self.metadata.name) <= {resource.max_name}",
                "message": f"metadata.name must be at most {resource.max_name} characters long: the names of Jobs are "
                "made of it",
            },
            {
                "rule": f"self.metadata.name.matches('{LABEL_PATTERN}')",
                "message": "metadata.name must be lower-case letters, digits and dashes, and begin and end with a "
                "letter or digit",
            },
        ],
    }


def definition(resource: Resource) -> dict[str, Any]:
    """The CustomResourceDefinition of a resource."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [resource.short_name],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": list(resource.columns),
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": _root(resource)},
                }
            ],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Without anchors: two fields of the same type are two schemas to a reader."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def render(resource: Resource) -> str:
    """The CustomResourceDefinition as it is committed."""
    text: str = yaml.dump(definition(resource), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return HEADER + text


def main(arguments: list[str]) -> int:
    """Write the files; the exit status."""
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[0] if arguments else "crds")
    folder.mkdir(parents=True, exist_ok=True)
    for resource in RESOURCES:
        path = folder / f"{resource.plural}.yaml"
        path.write_text(render(resource), encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
