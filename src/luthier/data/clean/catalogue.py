"""All repairs, by name, in the order in which they are tried: first what changes rows, then what drops them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from luthier.data.clean import (
    boilerplate,
    control_characters,
    duplicate_rows,
    echoed_prompt,
    empty_answer,
    equal_rows,
    html_remnants,
    mojibake,
    personal_data,
    possible_secrets,
    role_order,
    row_does_not_fit,
    secrets,
    template_markers,
    truncated_answers,
    white_space,
)
from luthier.data.clean.repair import Repair
from luthier.errors import InputError

REPAIRS: dict[str, Repair] = {
    module.REPAIR.name: module.REPAIR
    for module in (
        mojibake,
        control_characters,
        html_remnants,
        template_markers,
        white_space,
        role_order,
        echoed_prompt,
        secrets,
        possible_secrets,
        personal_data,
        row_does_not_fit,
        empty_answer,
        boilerplate,
        truncated_answers,
        equal_rows,
        duplicate_rows,
    )
}
SAFE = "safe"
"""Stands for all repairs that are safe."""


def choose_repairs(names: Sequence[str] | None = None) -> list[Repair]:
    """The repairs named, or the safe ones; in the order of `REPAIRS`.

    Raises:
        InputError: There is no such repair.
    """
    chosen: set[str] = set()
    for name in names or (SAFE,):
        if name == SAFE:
            chosen.update(repair.name for repair in REPAIRS.values() if repair.is_safe)
        elif name in REPAIRS:
            chosen.add(name)
        else:
            near = difflib.get_close_matches(name, [SAFE, *REPAIRS], n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Repairs: {SAFE}, {', '.join(REPAIRS)}."
            raise InputError(f"There is no repair '{name}'. {hint}")
    return [repair for name, repair in REPAIRS.items() if name in chosen]
