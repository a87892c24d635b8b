"""Rows of a training without a model: how many, how long, how much of them is learnt. No torch, and no chat template.

Contents are tokenised with the model's own tokenizer.json where it is on this machine; a template's markers are counted as a few
tokens a message. Lengths are therefore estimates: `luthier data inspect` measures them exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from luthier.data.any_rows import AnyItem, read_again, recognise_files
from luthier.errors import DataError
from luthier.reporter import Reporter
from luthier.types import Conversation, Document, LabelledAnswer

MOST_ROWS = 2000
"""Rows whose lengths are measured, spread evenly over all."""

MARKER_TOKENS = 5
"""Of a message: role, start and end in ChatML; other templates have three to six."""

CHARACTERS_PER_TOKEN = 4.0
"""English text in vocabularies of 50,000 and more; code and other languages take more tokens."""


@dataclass(frozen=True)
class RowFacts:
    """What is known of the rows.

    Attributes:
        num_rows: All rows of the files.
        mean_tokens: Of a row.
        longest_tokens: Of those measured.
        supervised_share: Learnt tokens among all.
        measured_with: How lengths were found, in words.
    """

    num_rows: int
    mean_tokens: float
    longest_tokens: int
    supervised_share: float
    measured_with: str


def row_facts(
    files: Sequence[str | Path],
    tokenizer_file: Path | None,
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    reporter: Reporter,
) -> RowFacts:
    """Count rows and estimate their lengths.

    Args:
        files: Files, folders, patterns, or ``demo:`` names.
        tokenizer_file: tokenizer.json of the model; None counts characters.
        limit: Only the first rows count.

    Raises:
        DataError: The files cannot be read, or hold nothing that can be learnt.
    """
    count_tokens, words = _counter(tokenizer_file)
    recognised = recognise_files(files, format, columns or {}, reporter)
    num_rows = sum(file.num_rows for file in recognised)
    considered = min(num_rows, limit or num_rows)
    step = max(1, considered // MOST_ROWS)
    lengths: list[tuple[int, int]] = []
    number = 0
    for file in recognised:
        for read in read_again(file, reporter, "measure rows"):
            if number >= considered:
                break
            if number % step == 0 and read.item is not None:
                lengths += _lengths(read.item, count_tokens)
            number += 1
    if not lengths:
        raise DataError(f"No row of {', '.join(map(str, files))} can be learnt from. See: luthier data inspect")
    total = sum(whole for whole, _ in lengths)
    return RowFacts(
        num_rows=considered,
        mean_tokens=total / len(lengths),
        longest_tokens=max(whole for whole, _ in lengths),
        supervised_share=sum(learnt for _, learnt in lengths) / total,
        measured_with=f"{len(lengths):,} of {considered:,} rows, {words}",
    )


def _counter(tokenizer_file: Path | None) -> tuple[Callable[[str], int], str]:
    if tokenizer_file is None or not tokenizer_file.is_file():
        return lambda text: round(len(text) / CHARACTERS_PER_TOKEN), f"{CHARACTERS_PER_TOKEN:g} characters a token"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids), "the model's tokenizer"


def _lengths(item: AnyItem, count_tokens: Callable[[str], int]) -> list[tuple[int, int]]:
    """(tokens, learnt tokens) of each sequence that a row gives."""
    if isinstance(item, Document):
        tokens = max(1, count_tokens(item.text))
        return [(tokens, tokens)]
    if isinstance(item, Conversation):
        parts = [(m.content, m.role == "assistant" and m.train is not False) for m in item.messages]
        return [_sum(parts, count_tokens)]
    prompt = [(m.content, False) for m in item.prompt]
    answers = [item.answer] if isinstance(item, LabelledAnswer) else [item.chosen, item.rejected]
    return [_sum([*prompt, *((m.content, True) for m in answer)], count_tokens) for answer in answers]


def _sum(parts: Sequence[tuple[str, bool]], count_tokens: Callable[[str], int]) -> tuple[int, int]:
    counts = [(count_tokens(content) + MARKER_TOKENS, learnt) for content, learnt in parts]
    return sum(n for n, _ in counts), sum(n for n, learnt in counts if learnt)
