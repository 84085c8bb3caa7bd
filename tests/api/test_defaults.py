"""The API server fills in what the models do."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import Server
from specs import REMOVED, changed

from archsearch.api import ArchitectureSearchSpec
from archsearch.api.load import read_search

Json = dict[str, Any]

pytestmark = pytest.mark.apiserver

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def test_there_are_examples() -> None:
    assert {"minimal.yaml", "darts-digits.yaml", "evolution-digits.yaml"} <= {example.name for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_the_api_server_fills_in_what_the_models_do(searches: Server, example: Path) -> None:
    _, spec = read_search(example)
    stored = searches.create(yaml.safe_load(example.read_text()), dry_run=True)["spec"]
    assert stored == spec.wire()
    assert ArchitectureSearchSpec.model_validate(stored) == spec


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spec.algorithm": {"differentiable": {}}, "spec.evaluation": REMOVED, "spec.earlyStopping": REMOVED},
        {"spec.algorithm": {"random": {}}, "spec.space": {"nasBench201": {}}},
        {"spec.trial": {}, "spec.retrain": {}, "spec.export": {}, "spec.earlyStopping": {"medianStop": {}}},
        {"spec.trial": {"resources": {}, "tolerations": [{"key": "a"}]}},
        {"spec.trial": {"resources": {"limits": {"cpu": "1"}}}},
        {"spec.task.imageClassification.training": {}, "spec.space": {"dartsCells": {}}},
        {"spec.task.imageClassification.training": REMOVED, "spec.space": REMOVED, "spec.algorithm": REMOVED},
    ],
)
def test_defaults_inside_what_is_set_or_absent(searches: Server, changes: Json) -> None:
    resource = changed(changes)
    stored = searches.create(resource, dry_run=True)["spec"]
    assert stored == ArchitectureSearchSpec.model_validate(resource["spec"]).wire()
