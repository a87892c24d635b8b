"""The rules of rules.yaml, and when one holds. A rule is data: conditions on facts, a sentence, a source, an effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple, get_args

import yaml

Part = Literal["tree", "green", "red", "ask", "measure", "data", "method", "model", "setting"]
PARTS: tuple[Part, ...] = get_args(Part)
Effect = Literal["", "retrieve", "need", "support", "block", "block_support", "lift"]
Facts = Mapping[str, Any]
"""What is known, by name; None or absent is unknown."""


@dataclass(frozen=True)
class Rule:
    """One row of rules.yaml; the words of its fields are explained there."""

    id: str
    part: Part
    says: str
    source: str
    when: Mapping[str, Any] = field(default_factory=dict)
    effect: Effect = ""
    method: str = ""
    parameters: str = ""
    set: Mapping[str, Any] = field(default_factory=dict)

    def holds(self, facts: Facts) -> bool:
        """Whether all its conditions hold; an unknown fact meets a condition only where that says so."""
        return all(_meets(facts.get(name), condition) for name, condition in self.when.items())


class Statement(NamedTuple):
    """A sentence of an advice, and the rule that made it."""

    rule: str
    part: Part
    text: str
    source: str


def _meets(value: Any, condition: Any) -> bool:
    if not isinstance(condition, Mapping):
        return value is not None and value == condition
    if "known" in condition:
        return (value is not None) is condition["known"]
    if value is None:
        return bool(condition.get("or_unknown")) or "unknown" in condition.get("one_of", ())
    if "one_of" in condition and value not in condition["one_of"]:
        return False
    if "at_least" in condition and value < condition["at_least"]:
        return False
    return "below" not in condition or value < condition["below"]


@lru_cache(maxsize=1)
def load_rules() -> tuple[Rule, ...]:
    """All rules, in the order of the file."""
    text = files("luthier.advise").joinpath("rules.yaml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return tuple(Rule(**{**row, "says": " ".join(row["says"].split())}) for row in rows)


def fired(part: Part, facts: Facts) -> list[Rule]:
    """Rules of a part that hold, in the order of the file."""
    return [rule for rule in load_rules() if rule.part == part and rule.holds(facts)]


def state(rule: Rule, facts: Facts) -> Statement:
    """The rule's sentence with the facts filled in."""
    return Statement(rule.id, rule.part, rule.says.format_map(_Shown(facts)), rule.source)


class _Shown(dict[str, Any]):
    """Facts as they are read: numbers with commas, shares in percent."""

    def __missing__(self, key: str) -> str:
        raise KeyError(f"a rule speaks of the fact '{key}', which nothing sets")

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if isinstance(value, float) and 0 <= value <= 1:
            return f"{100 * value:.1f} %"
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
