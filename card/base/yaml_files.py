"""Reads YAML as people write it, with errors that name the file and the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from card.base.errors import ScenarioError


class _Loader(yaml.SafeLoader):
    """YAML with the floats people write: 10e6 and 1e-3 are numbers, as in YAML 1.2."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Mapping of a node; a key written twice is an error, not a silent choice of the last."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is written twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping stored in a YAML file, with errors that name the file and line."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise ScenarioError(
            f"{path} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8."
        ) from error
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
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
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ScenarioError(f"{text!r} is not a YAML value; quote it.") from error
