"""Answers over time: the same prompts, answered by the untrained model and at each validation, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from luthier.pages.report.records import last_lines
from luthier.pages.report.words import answer_text, number, page_bytes, shortened
from luthier.runs.folder import RunFolder

PROMPTS_PER_TABLE = 3
"""Columns in which text can still be read."""

MOST_STEPS = 8
MOST_PROMPTS = 12
PROGRESS_BYTES = 100_000
LONGEST_ANSWER = 400


@dataclass(frozen=True)
class CellView:
    """One answer. `same_as` names the step since which it has not changed; then `text` is empty: it stands there."""

    text: str
    same_as: str
    is_reference: bool
    was_cut: bool


@dataclass(frozen=True)
class PromptView:
    """What was asked, and what the data answer."""

    question: str
    prompt: str
    reference: str


@dataclass(frozen=True)
class ProgressTable:
    """Up to three prompts as columns; per step its name and one cell for each."""

    prompts: tuple[PromptView, ...]
    rows: tuple[tuple[str, tuple[CellView, ...]], ...]


@dataclass(frozen=True)
class ProgressView:
    """All tables, and what is left out of them."""

    tables: tuple[ProgressTable, ...]
    note: str


def read_progress(folder: RunFolder) -> ProgressView | None:
    """None where no prompt was answered."""
    answers: dict[str, dict[int, dict[str, Any]]] = {}
    for record in folder.read_lines("samples_over_time.jsonl"):
        answers.setdefault(record["prompt"], {})[int(record["step"])] = record
    if not answers:
        return None
    all_steps = sorted({step for by_step in answers.values() for step in by_step})
    steps = spread(all_steps, MOST_STEPS)
    columns: list[tuple[PromptView, list[CellView]]] = []
    room = PROGRESS_BYTES
    for prompt, by_step in list(answers.items())[:MOST_PROMPTS]:
        column = _prompt(prompt, by_step), _cells(by_step, steps)
        room -= page_bytes(column[0].prompt, column[0].reference, *(cell.text for cell in column[1]))
        if room < 0:
            break
        columns.append(column)
    left_out = []
    if len(steps) < len(all_steps):
        left_out.append(f"{len(steps)} of {len(all_steps)} validations")
    if len(columns) < len(answers):
        left_out.append(f"{len(columns)} of {len(answers)} prompts")
    note = f"{' and '.join(left_out)} are shown; all are in samples_over_time.jsonl." if left_out else ""
    groups = [columns[i : i + PROMPTS_PER_TABLE] for i in range(0, len(columns), PROMPTS_PER_TABLE)]
    return ProgressView(tuple(_table(group, steps) for group in groups), note)


def _table(columns: Sequence[tuple[PromptView, list[CellView]]], steps: Sequence[int]) -> ProgressTable:
    names = ["Untrained" if step == 0 else f"Step {number(step)}" for step in steps]
    rows = tuple((name, tuple(cells[i] for _, cells in columns)) for i, name in enumerate(names))
    return ProgressTable(tuple(prompt for prompt, _ in columns), rows)


def _prompt(prompt: str, by_step: dict[int, dict[str, Any]]) -> PromptView:
    reference = next(iter(by_step.values()))["reference"]
    return PromptView(last_lines(prompt), shortened(prompt, 3000), shortened(reference, LONGEST_ANSWER))


def _cells(by_step: dict[int, dict[str, Any]], steps: Sequence[int]) -> list[CellView]:
    cells: list[CellView] = []
    before, since = None, ""
    for step in steps:
        record = by_step.get(step)
        if record is None:  # its answer was left out, because the model gave none
            cells.append(CellView("(no answer)", "", False, False))
            before = None
            continue
        is_same = record["answer"] == before
        since = since if is_same else ("untrained" if step == 0 else f"step {number(step)}")
        cells.append(
            CellView(
                text="" if is_same else answer_text(record["answer"], LONGEST_ANSWER),
                same_as=since if is_same else "",
                is_reference=record["answer"].strip() == record["reference"].strip(),
                was_cut=record["finish"] == "length",
            )
        )
        before = record["answer"]
    return cells


def spread(values: Sequence[int], most: int) -> list[int]:
    """At most `most` of the values: the first, the last, and evenly between."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
