"""What the operator remembers of a search between two looks: its finished trials. Read again, it would be the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from archsearch.api.search import ArchitectureSearchSpec
from archsearch.api.trial import ArchitectureTrialSpec, ArchitectureTrialStatus, Trial
from archsearch.planning import History
from archsearch_operator import names
from archsearch_operator.kube import Kube
from archsearch_operator.workqueue import Key

Document = dict[str, Any]


@dataclass
class Ledger:
    """The history of one search, and its open trials as they were read last. uid: the search's own."""

    uid: str
    history: History
    open: dict[str, Document] = field(default_factory=dict)

    @classmethod
    async def read(cls, kube: Kube, key: Key, uid: str, spec: ArchitectureSearchSpec) -> Ledger:
        """From all trials of the search. Done once, and again after anything went wrong."""
        documents = [item for item in await kube.trials(key, only_open=False) if _belongs(item, uid)]
        trials = [(document, trial_from(document)) for document in documents]
        ledger = cls(uid, History(spec, [trial for _, trial in trials if trial.finished]))
        for document, trial in trials:
            if not trial.finished or names.OPEN in document["metadata"].get("labels", {}):
                ledger.open[trial.name] = document
        return ledger

    async def refresh(self, kube: Kube, key: Key) -> None:
        """Read the open trials again; finished ones are never read twice."""
        documents = [item for item in await kube.trials(key, only_open=True) if _belongs(item, self.uid)]
        self.open = {document["metadata"]["name"]: document for document in documents}

    def half_closed(self) -> list[Trial]:
        """Trials whose result is recorded, and which are still listed as open: the operator died between the two."""
        return [trial for document in self.open.values() if (trial := trial_from(document)).finished]

    def unfinished(self) -> Sequence[tuple[Document, Trial]]:
        """The open trials."""
        pairs = [(document, trial_from(document)) for document in self.open.values()]
        return [(document, trial) for document, trial in pairs if not trial.finished]


def trial_from(document: Document) -> Trial:
    """A trial as the API server has it. Raises pydantic's ValidationError if somebody has broken it."""
    return Trial(
        name=document["metadata"]["name"],
        spec=ArchitectureTrialSpec.model_validate(document["spec"]),
        status=ArchitectureTrialStatus.model_validate(document.get("status") or {}),
    )


def owner_uid(document: Document) -> str:
    """The uid of the controlling owner, or nothing."""
    owners = document["metadata"].get("ownerReferences") or []
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _belongs(document: Document, uid: str) -> bool:
    """Whether the trial is this search's, and not one of an older search of the same name that is being removed."""
    return owner_uid(document) == uid
