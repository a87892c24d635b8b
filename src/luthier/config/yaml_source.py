"""YAML text → plain data, with the line of every key, and every fault of the text at once.

YAML is read as YAML 1.2 does: only ``true`` and ``false`` are booleans (``no`` is a word), ``2e-4`` is a number and
``010`` is ten. Written text follows the same rules, so that what is dumped reads back as the same value.
"""

# PyYAML's type stubs leave its methods untyped:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+$")
_FLOAT = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own name; filled below


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        """Never write anchors."""
        del data
        return True


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
    )
    _class.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
    _class.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))

_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(str(node.value)))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: _float(str(node.value)))


def _float(text: str) -> float:
    lowered = text.lower()
    return float(lowered.replace(".", "")) if lowered.endswith(("inf", "nan")) else float(text)


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain_enough = value.isprintable() and value != "="
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain_enough else '"')


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value) if math.isfinite(value) else {math.inf: ".inf", -math.inf: "-.inf"}.get(value, ".nan")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_float)


@dataclass
class SourceText:
    """What a YAML text says.

    Attributes:
        data: Mappings, lists and scalars.
        lines: The line (from 1) of every key and list item, by its path.
        problems: Faults of the text itself, each with its line.
    """

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict[KeyPath, int])
    problems: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


def read_yaml(text: str) -> SourceText:
    """Read one YAML document; faults are collected, not raised."""
    source = SourceText()
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            source.data = _value(loader, node, (), source, frozenset())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(part for part in (error.problem, error.context) if part)
        source.problems.append((mark.line + 1 if mark else 1, f"not valid YAML: {words}.{_hint(error)}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        source.problems.append((line, f"not valid YAML: character #x{error.character:04x} is not allowed in YAML."))
    finally:
        if loader is not None:
            loader.dispose()
    return source


HINTS: Mapping[str, str] = {
    r"'\\t'": "The line is indented with a tab; YAML takes spaces only.",
    r"mapping values are not allowed": "Is the line indented further than the one above? A value with ': ' in it needs quotes.",
    r"expected <block end>": "The line is indented otherwise than those it belongs to.",
    r"found character|scanning an alias|undefined alias": "A value that begins with a sign such as @, %, & or * needs quotes.",
    r"parsing a flow (mapping|sequence)": "The bracket that opens in line {line} is not closed, or a comma is missing.",
    r"scanning a quoted scalar": "The quote that opens in line {line} is not closed.",
}
"""What PyYAML's words usually mean, by what stands in them; the first that fits counts."""


def _hint(error: yaml.MarkedYAMLError) -> str:
    words = f"{error.problem} {error.context}"
    opened = error.context_mark or error.problem_mark
    for found, hint in HINTS.items():
        if re.search(found, words):
            return " " + hint.format(line=opened.line + 1 if opened else 1)
    return ""


def _value(loader: _Loader, node: yaml.Node, path: KeyPath, source: SourceText, active: frozenset[int]) -> Any:
    line = node.start_mark.line + 1
    if id(node) in active:
        source.problems.append((line, f"{format_path(path)}: an anchor that contains itself."))
        return None
    active = active | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        items: list[Any] = []
        for index, child in enumerate(node.value):
            source.lines[(*path, index)] = child.start_mark.line + 1
            items.append(_value(loader, child, (*path, index), source, active))
        return items
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, child in node.value:
            _read_entry(loader, key_node, child, path, source, active, mapping)
        return mapping
    try:
        return loader.construct_object(node)  # pyright: ignore[reportUnknownVariableType]
    except (yaml.constructor.ConstructorError, ValueError):
        source.problems.append((line, f"{format_path(path)}: the YAML tag '{node.tag}' cannot be used in a recipe."))
        return None


def _read_entry(
    loader: _Loader,
    key_node: yaml.Node,
    child: yaml.Node,
    path: KeyPath,
    source: SourceText,
    active: frozenset[int],
    mapping: dict[str, Any],
) -> None:
    line = key_node.start_mark.line + 1
    if not isinstance(key_node, yaml.ScalarNode):
        source.problems.append((line, f"{format_path(path)}: a key must be a word, not a list or a mapping."))
        return
    key = str(key_node.value)
    if key in mapping:
        first = source.lines[(*path, key)]
        source.problems.append(
            (line, f"{format_path((*path, key))}: the key stands here a second time (first in line {first}).")
        )
        return
    source.lines[(*path, key)] = line
    mapping[key] = _value(loader, child, (*path, key), source, active)


def format_path(path: KeyPath) -> str:
    """``("data", "train", 0)`` → ``data.train[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def write_value(value: Any) -> str:
    """One value as YAML on one line."""
    if isinstance(value, tuple):
        value = list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if isinstance(value, Mapping):
        value = dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    # The document's end mark "..." follows a bare scalar; a one-item list has none.
    text: str = yaml.dump(
        [value], Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=math.inf, sort_keys=False
    )
    return text.strip()[1:-1]
