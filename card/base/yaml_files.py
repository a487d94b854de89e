"""Reads and writes YAML 1.2, with errors that name the file and the line."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.resolver import VersionedResolver

from card.base.errors import ScenarioError


class _Resolver(VersionedResolver):
    """The core schema of YAML 1.2 (section 10.3.2), and merge keys.

    ruamel's own takes 1_000 and 0b11 for numbers and .5e3 for a word.
    """

    processing_version = (1, 2)
    versioned_resolver = {  # noqa: RUF012
        None: [
            (f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{pattern})\Z"))
            for tag, pattern in {
                "null": r"~|null|Null|NULL|",
                "bool": r"true|True|TRUE|false|False|FALSE",
                "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
                "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
                r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
                "merge": r"<<",
            }.items()
        ]
    }


class _Constructor(SafeConstructor):
    def flatten_mapping(self, node: Any) -> None:
        """Refuse a key that is written twice, which ruamel overlooks beside a merge key."""
        keys = [] if node.merge else [key for key, _ in node.value]
        for place, key in enumerate(keys):
            if key.value in [other.value for other in keys[:place]]:
                problem = f"the key {key.value!r} is written twice"
                raise ConstructorError(problem=problem, problem_mark=key.start_mark)
        super().flatten_mapping(node)


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver, yaml.Constructor = _Resolver, _Constructor
    return yaml


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping stored in a YAML file, with errors that name the file and line."""
    try:
        content = _yaml().load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ScenarioError(
            f"{path} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8."
        ) from error
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error.strerror}.") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ScenarioError(f"{path}{line} is not valid YAML: {problem}.") from error
    if content is None:
        raise ScenarioError(f"{path} is empty; write at least a base, e.g. base: nominal.")
    if not isinstance(content, dict):
        raise ScenarioError(
            f"{path} holds {content!r:.40}; write a mapping of keys to values, e.g. base: nominal."
        )
    return content


def parse_value(text: str) -> Any:
    """Value of a `path=value` setting, read as YAML."""
    try:
        return _yaml().load(text)
    except YAMLError as error:
        raise ScenarioError(f"{text!r} is not a YAML value; quote it.") from error


def label(value: Any) -> str:
    """A value as a study file writes it on one line."""
    yaml, text = _yaml(), StringIO()
    yaml.default_flow_style, yaml.width = True, 10**6
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(value, text)
    return text.getvalue().removesuffix("\n").removesuffix("\n...")
