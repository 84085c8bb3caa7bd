"""The committed CustomResourceDefinitions: equal to the models, and structural down to the last leaf."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from archsearch.api import crd
from archsearch.api.base import CEL_RULES, Model
from archsearch.api.structural import LIST_TYPE, PRESERVE, UnsupportedSchema, structural

Json = dict[str, Any]

CRDS = Path(__file__).parents[2] / "crds"
LARGEST_FOR_CLIENT_SIDE_APPLY = 262_144
# Of a CustomResourceDefinition's JSONSchemaProps, those that a structural schema of ours uses.
ALLOWED = {
    "description", "type", "format", "enum", "default", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "multipleOf", "minItems", "maxItems", "minProperties", "maxProperties", "required", "items", "properties",
    "additionalProperties", LIST_TYPE, "x-kubernetes-list-map-keys", PRESERVE, CEL_RULES,
}  # fmt: skip


def committed(resource: crd.Resource) -> Json:
    document: Json = yaml.safe_load((CRDS / f"{resource.plural}.yaml").read_text())
    return document


def schema(resource: crd.Resource) -> Json:
    root: Json = committed(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return root


def walk(node: Json, where: str = "") -> Iterator[tuple[str, Json]]:
    yield where, node
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{where}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from walk(node[key], f"{where}.{key}")


NODES = [
    pytest.param(where, node, id=f"{resource.kind}{where}")
    for resource in crd.RESOURCES
    for where, node in walk(schema(resource))
    # The API server knows the type of these three itself.
    if where not in ("", ".apiVersion", ".kind", ".metadata")
]


@pytest.mark.parametrize("resource", crd.RESOURCES, ids=lambda resource: resource.plural)
def test_the_committed_file_is_what_the_models_give(resource: crd.Resource) -> None:
    assert (CRDS / f"{resource.plural}.yaml").read_text() == crd.render(resource), "run `python -m archsearch.api.crd`"


def test_writing_to_a_folder_gives_the_committed_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main([str(tmp_path / "new")]) == 0
    written = {file.name: file.read_bytes() for file in (tmp_path / "new").iterdir()}
    assert written == {file.name: file.read_bytes() for file in CRDS.iterdir()}
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "new" / f"{r.plural}.yaml") for r in crd.RESOURCES]


@pytest.mark.parametrize("resource", crd.RESOURCES, ids=lambda resource: resource.plural)
def test_the_file_is_far_from_what_client_side_apply_can_carry(resource: crd.Resource) -> None:
    # kubectl writes it into an annotation, as JSON. Each task and each space takes 1 to 2 % of what it can carry.
    assert len(json.dumps(committed(resource))) < LARGEST_FOR_CLIENT_SIDE_APPLY * 3 / 4


@pytest.mark.parametrize("resource", crd.RESOURCES, ids=lambda resource: resource.plural)
def test_names(resource: crd.Resource) -> None:
    document = committed(resource)
    names = document["spec"]["names"]
    assert document["metadata"]["name"] == f"{names['plural']}.archsearch.dev"
    assert names["kind"] in ("ArchitectureSearch", "ArchitectureTrial")
    assert names["shortNames"] in (["nas"], ["nastrial"])
    assert names["categories"] == ["archsearch"]
    assert document["spec"]["versions"][0]["subresources"] == {"status": {}}


@pytest.mark.parametrize(("where", "node"), NODES)
def test_every_node_is_structural_bounded_and_described(where: str, node: Json) -> None:
    assert node.keys() <= ALLOWED
    assert node["type"] in ("object", "array", "string", "integer", "number", "boolean")
    named = not where.endswith((".items", ".additionalProperties"))
    if named:
        text = node["description"]
        assert text[0] == "`" or text[0].isupper() or text.startswith("metav1.")
        assert text.endswith(".")
        assert "\n" not in text
    assert node.get("default", ...) is not None
    in_status = where.startswith(".status")
    if in_status:
        assert "default" not in node
    match node["type"]:
        case "string":
            assert "maxLength" in node or "enum" in node or node.get("format") == "date-time"
        case "integer":
            assert node["format"] == ("int32" if node.get("maximum", 2**31) < 2**31 else "int64")
            assert in_status or {"minimum", "maximum"} <= node.keys()
        case "number":
            assert in_status, "no floats in a spec"
        case "array":
            assert "maxItems" in node
            assert node[LIST_TYPE] == ("map" if "x-kubernetes-list-map-keys" in node else "atomic")
        case "object" if "properties" not in node:
            assert node.get(PRESERVE) or "maxProperties" in node
            assert node.get(PRESERVE) or "additionalProperties" in node


@pytest.mark.parametrize(("where", "node"), NODES)
def test_every_rule_has_a_message_and_a_path_that_exists(where: str, node: Json) -> None:
    for rule in node.get(CEL_RULES, []):
        assert rule["message"]
        target = node
        for part in filter(None, rule.get("fieldPath", "").split(".")):
            target = target["properties"][part]


@pytest.mark.parametrize(("where", "node"), NODES)
def test_an_object_whose_fields_all_have_defaults_has_one_itself_or_may_be_absent(where: str, node: Json) -> None:
    """A default inside an object that is absent is never applied, so the parent's default must be an object."""
    for name, child in node.get("properties", {}).items():
        if name in node.get("required", []) or child["type"] != "object" or "default" not in child:
            continue
        missing = [field for field in child.get("required", []) if field not in child["default"]]
        assert not missing, f"{where}.{name}"


def test_lists_of_named_things_are_maps() -> None:
    search = dict(walk(schema(crd.SEARCH)))
    assert search[".spec.profiles"]["x-kubernetes-list-map-keys"] == ["name"]
    assert search[".status.conditions"]["x-kubernetes-list-map-keys"] == ["type"]


def test_every_field_that_is_not_mutable_has_a_rule_on_its_parent() -> None:
    spec = schema(crd.SEARCH)["properties"]["spec"]
    guarded = {rule["fieldPath"][1:] for rule in spec[CEL_RULES] if "oldSelf" in rule["rule"]}
    assert guarded == spec["properties"].keys() - {"budget", "suspend", "queue"}


class WithUnion(Model):
    """A union without a structural form."""

    value: str | int
    """A text or a number."""


class WithNumericExclusiveBound(Model):
    """OpenAPI 3.0 has no numeric exclusive bounds."""

    value: int = Field(gt=0)
    """A number."""


class WithFreeForm(Model):
    """A value of any type."""

    value: Any
    """Anything."""


class WithPair(Model):
    """A tuple of fixed length."""

    value: tuple[int, str]
    """A pair."""


@pytest.mark.parametrize("model", [WithUnion, WithNumericExclusiveBound, WithFreeForm, WithPair])
def test_what_has_no_structural_form_is_refused_with_its_place(model: type[Model]) -> None:
    with pytest.raises(UnsupportedSchema, match=rf"{model.__name__}\.value"):
        structural(model)
