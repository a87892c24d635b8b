"""`luthier data rules`: what `luthier data check` looks for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.show_data_check import show_rules


def rules(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RULE]...", help="Explain these: what they find, why it hurts, what to do.", show_default=False
        ),
    ] = None,
) -> Outcome:
    """List the rules of `luthier data check`, or explain some."""
    from luthier.data.lint.catalogue import describe_rules, require_rules

    require_rules(names or ())
    chosen = [rule for rule in describe_rules() if not names or rule.name in names]
    return Outcome(
        {"rules": [asdict(rule) for rule in chosen]}, lambda console: show_rules(console, chosen, in_full=bool(names))
    )
