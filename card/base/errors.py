"""Turns a rejected value into one sentence: which key, which value, what is allowed, what to do."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from card.base import DISTRIBUTION
from card.base.letters import remedy_for

Schema = dict[str, Any]
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
"""How a decimal number is written."""
Model = TypeVar("Model", bound=BaseModel)
LARGEST_WHOLE = 2**63 - 1
"""Largest whole number that nothing is counted with, such as a seed."""
LARGEST_COUNT = 10**9
"""Largest number of things, such as rounds, which a large machine can hold."""


class ScenarioError(ValueError):
    """A scenario, study or command-line value that the model refuses, with the remedy."""


class ScenarioWarning(UserWarning):
    """A value that the model takes, but that may not say what its author means."""


class MissingExtraError(ScenarioError, ImportError):
    """An optional part of the package that is not installed, with the command that installs it."""


def installing(name: str) -> str:
    """Command that adds an extra to the package, whether it came from a clone or an index.

    pip takes the package that is there, and looks elsewhere only for what the extra lists.
    """
    return f"pip install '{DISTRIBUTION}[{name}]'"


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Context of imports that an optional part of the package brings.

    Parameters
    ----------
    name
        The extra of the package that has them.
    what
        What needs them, as the user calls it.

    Raises
    ------
    MissingExtraError
        If one is not installed, with the command that installs it.
    """
    try:
        yield
    except MissingExtraError:
        raise
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs {(error.name or str(error)).partition('.')[0]}, which is not installed; "
            f"{installing(name)}."
        ) from error


def needs(name: str, what: str, *modules: str) -> None:
    """Refuse what an optional part of the package is for where a module of it is missing.

    Nothing is imported: it is looked whether it could be.

    Parameters
    ----------
    name, what
        As `extra` takes them.
    modules
        What must be installed.

    Raises
    ------
    MissingExtraError
        If one is not, with the command that installs it.
    """
    with extra(name, what):
        for module in modules:
            if find_spec(module) is None:
                raise ModuleNotFoundError(name=module)


@contextmanager
def laid_to(place: str) -> Iterator[None]:
    """Context in which each line of a refusal begins with the file or the key that is at fault.

    Parameters
    ----------
    place
        The file or the key; empty for the file that the user named, which needs no name.

    Raises
    ------
    ScenarioError
        What was raised within, of the same kind.
    """
    try:
        yield
    except ScenarioError as error:
        if not place:
            raise
        lines = str(error).split("\n")
        raise type(error)("\n".join(f"{place}: {line}" for line in lines)) from None


def nearest(word: str, known: Iterable[str], around: str = "") -> str:
    """Sentence end naming the closest known word, or all of them when none is close."""
    choices = [str(name) for name in known]
    if not choices:
        return "there is none; leave it out."
    close = difflib.get_close_matches(str(word), choices, n=1, cutoff=0.6)
    return (
        f"did you mean '{around}{close[0]}'?" if close else f"choose one of {', '.join(choices)}."
    )


def repeated(items: Iterable[Hashable]) -> Any:
    """First item that stands there again, or None."""
    seen: set[Hashable] = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None


def check_once(key: str, listed: Sequence[Hashable] | None) -> None:
    """Refuse a list of distinct things in which one stands twice."""
    twice = repeated(listed or ())
    if twice is not None:
        raise ScenarioError(
            f"{key} = {shortened(list(listed or ()))} is not allowed; give {twice} once."
        )


def unknown(what: str, word: object, known: Iterable[str], ending: str = "") -> ScenarioError:
    """Error for a name that is not in a catalogue; a file may be given where `ending` is."""
    choices = list(known)
    remedy = nearest(str(word), choices)
    if ending:
        remedy = f"{remedy[:-1]}, or give a {ending} file{remedy[-1]}" if choices else ""
        remedy = remedy or f"give a {ending} file."
    return ScenarioError(f"{what} = {shortened(word)} is unknown; {remedy}")


def no_scenario(value: object) -> ScenarioError:
    """Error for what is given in place of a `card.scenario.Scenario`."""
    return ScenarioError(
        f"scenario = {argument(value)} is not allowed; give what card.load_scenario returns."
    )


def from_validation(
    error: ValidationError,
    model: type[BaseModel],
    raw: Any,
    entry: str = "",
    removed: Container[str] = (),
) -> ScenarioError:
    """Error listing each problem pydantic found, one line each, in the scenario's own words.

    What is not of a scenario, such as an entry of a catalogue, is named at the start of each line.
    Paths that are `removed` are missing since they are there without a value.
    """
    schema = model.model_json_schema()
    problems = error.errors(include_url=False)
    places = [problem["loc"] for problem in problems]
    absent = [
        place[0]
        for problem, place in zip(problems, places, strict=True)
        if problem["type"] == "missing" and len(place) == 1 and place[0] not in removed
    ]
    lines: list[str] = []
    alike: dict[str, list[str]] = {}
    if len(absent) > 1:
        missing = ", ".join(map(str, absent))
        remedy = "add them" if entry else "name a scenario that has them, e.g. base: nominal"
        lines.append(f"{missing} are missing; {remedy}.")
    for problem, place in zip(problems, places, strict=True):
        # a list whose items are wrong is reported a second time, as too short
        within = any(len(at) > len(place) and at[: len(place)] == place for at in places)
        if not within and not (len(absent) > 1 and place[:1] and place[0] in absent):
            whole = "an entry" if entry else "a scenario"
            line = _line(dict(problem), schema, raw, whole, removed)
            many = len(place) > 1 and (isinstance(place[1], int) or place[0] == "channel_states")
            item = dotted(place[:2], raw) if many else "."
            alike.setdefault(line.replace(item, "*"), []).append(line)
    for first, *others in alike.values():
        more = len(set(others) - {first})
        lines.append(first + f" The same holds for {more} more." * (more > 0))
    before = f"{entry}: " if entry else ""
    return ScenarioError("\n".join(before + line for line in dict.fromkeys(lines)))


def validated(
    model: type[Model],
    raw: Any,
    entry: str = "",
    context: Any = None,
    removed: Container[str] = (),
) -> Model:
    """The model that raw values make, or what is wrong with them, as `from_validation` says it."""
    try:
        return model.model_validate(raw, context=context)
    except ValidationError as error:
        raise from_validation(error, model, raw, entry, removed) from None


def _line(item: dict[str, Any], root: Schema, raw: Any, whole: str, removed: Container[str]) -> str:
    location = tuple(item["loc"])
    path = dotted(location, raw)
    if item["type"] == "value_error":
        # what is said of a whole scenario or end names its keys, what is said of hardware does not
        return f"{path}: " * (location[-1:] == ("hardware",)) + str(item["ctx"]["error"])
    if item["type"] == "extra_forbidden":
        parent, dot, key = path.rpartition(".")
        part = _schema_at(root, location[:-1])
        options = [part, *(_resolve(option, root) for option in part.get("anyOf", []))]
        siblings = [name for option in options for name in option.get("properties", {})]
        remedy = nearest(key, siblings, parent + dot)
        return f"{path or repr(path)} is not a key of {whole}; {remedy}"
    if location[-1:] == ("[key]",):  # what pydantic calls a key that is itself wrong
        path = dotted(location[:-1], raw)
        names = _resolve(_schema_at(root, location[:-2]).get("propertyNames", {}), root)
        parent, dot, key = path.rpartition(".")
        remedy = (
            nearest(key, names["enum"], parent + dot)
            if "enum" in names
            else f"give {allowed({'type': 'string'}, root)}, as the others are."
        )
        return f"{path} is not a key of {whole}; {remedy}"
    schema = _schema_at(root, location)
    within = allowed(schema, root)
    meaning, _, _ = schema.get("description", "").partition("\n\n")
    help_text = f" {' '.join(meaning.split())}" if meaning else ""
    if item["type"] == "missing":
        without = "has no value" if path in removed else "is missing"
        return f"{path} {without}; give {within}.{help_text}"
    value = item["input"]
    before = f"{path} = " if path else ""
    if item["type"] == "string_unicode":
        return f"{before}{shortened(value)} is not allowed; {remedy_for(value)}."
    if item["type"] == "finite_number":
        within = within.replace("a number", "a finite number")
    elif isinstance(value, str) and "number" in within and NUMBER.fullmatch(value):
        within += ", without quotes"
    elif isinstance(value, (int, float)) and within.endswith(_NOUNS["string"]):
        within += ", in quotes"  # a name such as 012 or 1e3, which YAML takes for a number
    return f"{before}{shortened(value)} is not allowed; give {within}.{help_text}"


def shortened(value: Any) -> str:
    """A value of a file or a command line as Python writes it on one line, long ones shortened."""
    return "null" if value is None else argument(value)


def argument(value: Any) -> str:
    """An argument of a function, likewise."""
    short = _Short()
    short.maxstring = short.maxother = short.maxlong = 40
    return re.sub(r"\n\s*", " ", short.repr(value))


class _Short(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        """As ever, but for numbers that Python refuses to write in decimal."""
        if x.bit_length() < 1000:
            return super().repr_int(x, level)
        return f"{hex(x)[:20]}… of {x.bit_length():,} bits"


def dotted(location: Sequence[int | str], raw: Any) -> str:
    """Path as the user writes it: list items by their `name` where they have a usable one."""
    parts, node = [], raw
    for key in location:
        try:
            node = node[key]
        except (KeyError, IndexError, TypeError):
            node = None
        name = node.get("name") if isinstance(key, int) and isinstance(node, dict) else None
        usable = isinstance(name, str) and re.fullmatch(r"[^.\s]+", name)
        parts.append(str(name if usable else key))
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
        options = [node, *(_resolve(option, root) for option in node.get("anyOf", []))]
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
            others = [
                option.get("additionalProperties"),
                *option.get("patternProperties", {}).values(),
            ]
            found = next((other for other in others if isinstance(other, dict)), None)
            if found is not None:
                node = found
                break
    return _resolve(node, root)


_NOUNS = {
    "number": "a number",
    "integer": "a whole number",
    "string": "a text that is not blank",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "null",
}


def allowed(schema: Schema, root: Schema) -> str:
    """What a part of a JSON Schema allows, in words; `root` has what its references lead to."""
    schema = _resolve(schema, root)
    if "anyOf" in schema:
        options = sorted(schema["anyOf"], key=lambda option: option.get("type") != "null")
        return " or ".join(allowed(option, root) for option in options)
    if "prefixItems" in schema:
        items = [allowed(item, root) for item in schema["prefixItems"]]
        return f"a list of {len(items)}: {', then '.join(items)}"
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    noun = _NOUNS.get(schema.get("type", ""), "a value")
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        noun += f" of at least {schema['minItems']}" if schema.get("minItems") else ""
        noun += f", each {allowed(schema['items'], root)}"
    if schema.get("minProperties"):
        noun += f", at least {schema['minProperties']}"
    if {"minimum", "maximum"} <= schema.keys():
        return f"{noun} from {_bound(schema['minimum'])} to {_bound(schema['maximum'])}"
    bounds = (
        ("minimum", "of at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    )
    limits = [f"{word} {_bound(schema[key])}" for key, word in bounds if key in schema]
    return noun + (" " + " and ".join(limits) if limits else "")


def _bound(number: float) -> str:
    """A bound as it can be given; a count is written out."""
    return str(number) if isinstance(number, int) else f"{number:g}"
