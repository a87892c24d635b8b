"""How advice looks: the verdict, what speaks for and against it, measurements, then model, method and settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from luthier.advise.decision import TITLES
from luthier.cli.hanging import print_hanging
from luthier.cli.views import show_next

if TYPE_CHECKING:
    from luthier.advise.rules import Statement
    from luthier.workflows.advise import AdviseResult

STYLES = {"green": "green", "red": "red", "ask": "yellow"}
HEADINGS = {
    "tree": "Why", "green": "For training", "red": "Against training, or to beware of", "measure": "Measured",
    "ask": "Not known", "model": "Base model", "method": "Method", "data": "Amount of data", "setting": "Settings",
}  # fmt: skip


def show_advice(console: Console, result: AdviseResult) -> None:
    """All of it, every sentence with its rule."""
    conclusion, *rest = result.statements
    console.print(Text(TITLES[result.decision.verdict], style="bold"))
    _show(console, [conclusion])
    if result.check is not None:
        print_hanging(console, Text(f"Data: {result.check.verdict}"), indent=2)
    for part, heading in HEADINGS.items():
        statements = [statement for statement in rest if statement.part == part]
        if statements:
            console.print(Text(heading, style=f"bold {STYLES.get(part, '')}".strip()))
            _show(console, statements)
    if result.method is not None:
        _show_plan(console, result)
    for note in result.notes:
        print_hanging(console, Text(f"Note: {note}", style="dim"), indent=2)
    if result.recipe is not None:
        console.print(f"Recipe: {result.recipe}", soft_wrap=True)
    elif result.recipe_fault:
        print_hanging(console, Text(result.recipe_fault, style="yellow"), indent=2)
    show_next(console, result.next_step)


def _show(console: Console, statements: Iterable[Statement]) -> None:
    for statement in statements:
        print_hanging(console, Text.assemble(f"  {statement.text} ", (f"[{statement.rule}]", "dim")), indent=4)


def _show_plan(console: Console, result: AdviseResult) -> None:
    assert result.method is not None
    stages = [f"{stage.method}{' (not available yet)' if stage.missing else ''}" for stage in result.method.stages]
    parameters = result.method.parameters or "nothing fits"
    text = f"In short: {' → '.join(stages)}; {parameters}"
    if result.base is not None and result.base.name is not None:
        text += f"; {result.base.name} on {result.base.facts['device']}"
    print_hanging(console, Text(text, style="bold"), indent=2)
    for fault in dict.fromkeys([result.method.missing, *(stage.missing for stage in result.method.stages)]):
        if fault:
            print_hanging(console, Text(f"Not available yet: {fault}.", style="yellow"), indent=2)


def show_rules(console: Console, rules: Sequence[Mapping[str, Any]]) -> None:
    """All rules, part by part."""
    part = ""
    for rule in rules:
        if rule["part"] != part:
            part = rule["part"]
            console.print(Text(HEADINGS[part], style="bold"))
        when = ", ".join(f"{name} {_condition(value)}" for name, value in rule["when"].items()) or "always"
        print_hanging(console, Text.assemble((f"  {rule['id']}", "cyan"), (f"  when {when}", "dim")), indent=6)
        print_hanging(console, Text(f"    {rule['says']}"), indent=4)
        print_hanging(console, Text(f"    {rule['source']}", style="dim"), indent=6)
    show_next(console, ("luthier advise --help", "what can be said of a wish"))


def _condition(value: Any) -> str:
    if not isinstance(value, Mapping):
        return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else f"is {value}"
    words = {"at_least": "≥ {}", "below": "< {}", "one_of": "in {}", "known": "known: {}", "or_unknown": "or unknown"}
    return " and ".join(words[name].format(limit) for name, limit in value.items())
