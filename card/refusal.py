"""Turns a rejected value into one sentence: which key, which value, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

Schema = dict[str, Any]


class ScenarioError(ValueError):
    """A scenario, study or command-line value that the model refuses, with the remedy."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Hint naming the closest known word, or all of them when none is close."""
    choices = [str(name) for name in known]
    close = difflib.get_close_matches(str(word), choices, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(choices)}"


def unknown(what: str, word: object, known: Iterable[str]) -> ScenarioError:
    """Error for a name that is not in a catalogue."""
    return ScenarioError(f"{what} = {word!r} is unknown; {nearest(str(word), known)}.")


def from_validation(error: ValidationError, model: type[BaseModel], raw: Any) -> ScenarioError:
    """Error listing each problem pydantic found, one line each, in the scenario's own words."""
    schema = model.model_json_schema()
    lines = [_line(dict(item), schema, raw) for item in error.errors(include_url=False)]
    return ScenarioError("\n".join(dict.fromkeys(lines)))


def _line(item: dict[str, Any], root: Schema, raw: Any) -> str:
    location = tuple(item["loc"])
    path = dotted(location, raw)
    if item["type"] == "value_error":
        reason = str(item["ctx"]["error"])
        return f"{path}: {reason}" if path else reason
    if item["type"] == "extra_forbidden":
        siblings = _schema_at(root, location[:-1]).get("properties", {})
        return f"{path} is not a key of a scenario; {nearest(str(location[-1]), siblings)}"
    schema = _schema_at(root, location)
    allowed = _allowed(schema, root)
    help_text = f" {schema['description']}" if schema.get("description") else ""
    if item["type"] == "missing":
        return f"{path} is missing; give {allowed}.{help_text}"
    return f"{path} = {item['input']!r} is not allowed; give {allowed}.{help_text}"


def dotted(location: Sequence[int | str], raw: Any) -> str:
    """Path as the user writes it: list items by their `name` where they have one."""
    parts, node = [], raw
    for key in location:
        try:
            node = node[key]
        except (KeyError, IndexError, TypeError):
            node = None
        named = isinstance(key, int) and isinstance(node, dict) and isinstance(node.get("name"), str)
        parts.append(str(node["name"]) if named and node is not None else str(key))
    return ".".join(parts)


def _resolve(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        reference = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        schema = {**reference, **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def _schema_at(root: Schema, location: Sequence[int | str]) -> Schema:
    """The part of a JSON Schema that describes the value at a location."""
    node = root
    for key in location:
        node = _resolve(node, root)
        options = [node, *map(lambda option: _resolve(option, root), node.get("anyOf", []))]
        for option in options:
            if isinstance(key, int) and "prefixItems" in option:
                node = option["prefixItems"][min(key, len(option["prefixItems"]) - 1)]
                break
            if isinstance(key, int) and "items" in option:
                node = option["items"]
                break
            if key in option.get("properties", {}):
                node = option["properties"][key]
                break
            if isinstance(option.get("additionalProperties"), dict):
                node = option["additionalProperties"]
                break
    return _resolve(node, root)


_NOUNS = {
    "number": "a number",
    "integer": "a whole number",
    "string": "a text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "null",
}


def _allowed(schema: Schema, root: Schema) -> str:
    schema = _resolve(schema, root)
    if "anyOf" in schema:
        return " or ".join(_allowed(option, root) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    noun = _NOUNS.get(schema.get("type", ""), "a value")
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        noun += f", each {_allowed(schema['items'], root)}"
        noun += f" (at least {schema['minItems']})" if schema.get("minItems") else ""
    bounds = (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    )
    limits = [f"{word} {schema[key]:g}" for key, word in bounds if key in schema]
    return noun + (" " + " and ".join(limits) if limits else "")
