"""Pydantic model → structural schema: the part of JSON schema that a CustomResourceDefinition may hold.

Whatever has no structural form raises instead of being dropped, so that the API server never checks less than the
models.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema, core_schema

from archsearch.api.base import CEL_RULES, Model, OneOf, Rule

Schema = dict[str, Any]

LIST_TYPE: Final = "x-kubernetes-list-type"
PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
INT32_MAX: Final = 2**31 - 1

# In the order in which a schema is written.
_KEPT: Final = (
    "description", "type", "format", "enum", "default", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "multipleOf", "minItems", "maxItems", "minProperties", "maxProperties", "required", "items", "properties",
    "additionalProperties", LIST_TYPE, "x-kubernetes-list-map-keys", PRESERVE, CEL_RULES,
)  # fmt: skip
# Titles say nothing. A structural schema cannot say what a map's keys look like: the models' CEL rules do.
_DROPPED: Final = frozenset({"title", "propertyNames"})


class UnsupportedSchema(TypeError):
    """A model uses something that a structural schema cannot say; the message names the place."""


def structural(model: type[Model], *, defaults: bool = True) -> Schema:
    """The structural schema of a model, with its descriptions, bounds and CEL rules.

    defaults: whether the API server fills in the fields that are left out.
    """
    document = model.model_json_schema(schema_generator=_Generator)
    return _convert(document, document.pop("$defs", {}), model.__name__, defaults)


class _Generator(GenerateJsonSchema):
    """Pydantic's own schema, with what pydantic does not know of: the rules of the models, and short defaults."""

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        document = super().model_schema(schema)
        if rules := [_validation(rule) for rule in (*_union_rules(schema["cls"]), *schema["cls"].rules)]:
            document[CEL_RULES] = rules
        return document

    def encode_default(self, dft: Any) -> Any:
        # The API server fills the defaults of a default in, so what they say need not be said twice. Where there are
        # rules it holds them against the default as it stands.
        if isinstance(dft, Model):
            return dft.model_dump(by_alias=True, exclude_defaults=not type(dft).rules, exclude_none=True, mode="json")
        return super().encode_default(dft)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        # A field that may be left out is not required; `null` itself is the same as leaving it out.
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Schema:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def literal_schema(self, schema: core_schema.LiteralSchema) -> Schema:
        document = super().literal_schema(schema)
        return {"enum": [document.pop("const")], **document} if "const" in document else document

    def dict_schema(self, schema: core_schema.DictSchema) -> Schema:
        # Pydantic writes a pattern of the keys as `patternProperties`, which a structural schema cannot hold.
        document: Schema = {"type": "object", "additionalProperties": self.generate_inner(schema["values_schema"])}
        if "max_length" in schema:
            document["maxProperties"] = schema["max_length"]
        keys = schema.get("keys_schema", {})
        if keys.get("type") == "str" and "pattern" in keys:
            document[CEL_RULES] = [
                {
                    "rule": f"self.all(key, size(key) <= {keys['max_length']} && key.matches(r'{keys['pattern']}'))",
                    "message": f"keys must match {keys['pattern']} and be at most {keys['max_length']} characters long",
                }
            ]
        return document

    def emit_warning(self, kind: Any, detail: str) -> None:
        raise UnsupportedSchema(f"{kind}: {detail}")

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> Schema:  # noqa: ARG002
        raise UnsupportedSchema(error_info)


def _union_rules(model: type[Model]) -> tuple[Rule, ...]:
    if not issubclass(model, OneOf):
        return ()
    present = ", ".join(f"has(self.{member})" for member in model.members())
    return (Rule(expression=f"[{present}].exists_one(present, present)", message=model.requirement()),)


def _validation(rule: Rule) -> Schema:
    validation = {"rule": rule.expression, "message": rule.message}
    return validation | ({"fieldPath": rule.field_path} if rule.field_path else {})


def _convert(node: Schema, definitions: Schema, where: str, defaults: bool) -> Schema:
    node = _resolve(node, definitions)
    if node.get(PRESERVE):
        # What is inside is anybody's: pruning would drop what is not listed, and unions cannot be listed.
        node.pop("additionalProperties", None)
    if unknown := node.keys() - _DROPPED - set(_KEPT):
        raise UnsupportedSchema(f"{where}: a structural schema cannot hold {', '.join(sorted(unknown))}")
    if "type" not in node:
        raise UnsupportedSchema(f"{where}: has no type")
    if not defaults:
        node.pop("default", None)
    if node["type"] == "integer":
        node["format"] = "int32" if node.get("maximum", INT32_MAX + 1) <= INT32_MAX else "int64"
    if node["type"] == "array":
        node.setdefault(LIST_TYPE, "atomic")
        node["items"] = _convert(node["items"], definitions, f"{where}[]", defaults)
    if "properties" in node:
        node["properties"] = {
            name: _convert(child, definitions, f"{where}.{name}", defaults)
            for name, child in node["properties"].items()
        }
    if isinstance(node.get("additionalProperties"), dict):
        node["additionalProperties"] = _convert(node["additionalProperties"], definitions, f"{where}.*", defaults)
    if "description" in node:
        node["description"] = " ".join([_one_line(node["description"]), *_numbers(node)])
    return {key: node[key] for key in _KEPT if key in node}


def _resolve(node: Schema, definitions: Schema) -> Schema:
    """A copy of the node with what it refers to in place; where both have a description, one follows the other."""
    node = dict(node)
    if "$ref" not in node:
        return node
    target = _resolve(definitions[node.pop("$ref").rpartition("/")[2]], definitions)
    return target | node | {"description": _both(node.get("description", ""), target.get("description", ""))}


def _both(field: str, model: str) -> str:
    """What a field is for, and then what its model is, unless one of them says it all."""
    field, model = _one_line(field), _one_line(model)
    if model.startswith(field.rstrip(".")):
        return model
    return field if field.startswith(model.rstrip(".")) else f"{field} {model}"


def _numbers(node: Schema) -> Iterator[str]:
    """Bounds and default in words, because `kubectl explain` shows neither."""
    if "minimum" in node and node.get("maximum", INT32_MAX) < INT32_MAX:
        yield f"From {node['minimum']} to {node['maximum']}."
    if isinstance(default := node.get("default"), str | int) and default != "":
        yield f"Default: {json.dumps(default)}."


def _one_line(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split())
