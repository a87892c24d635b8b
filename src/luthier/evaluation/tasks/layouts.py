"""Data sets whose files are known by name: what is asked, what is right and how it is judged. The files are the user's.

`luthier evaluate RUN --task gsm8k:test.jsonl`, or in a task file `layout: gsm8k`, where everything said beside it counts.

    gsm8k       question, answer ("… #### 72")                    the number at the end
    mbpp        text, code, test_list, test_setup_code            code that passes the tests
    banking77   text, category                                    the label, of those that occur in the file
    wikisql     text ("table: … columns: … Q: … A: SELECT …"),    the same SQL; the tables' rows are not part of the files,
                or question, sql                                  so it is not executed
    mt_bench    question_id, category, turns                      asked turn by turn; answered or not, for a judge to compare
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.data.row import Row
from luthier.data.sources import read_rows
from luthier.errors import DataError

_ANSWER_MARK = "\nA: "


@dataclass(frozen=True)
class Layout:
    """A known data set.

    Attributes:
        settings: Keys of a task file.
        read: Gives the rows of its file, with the columns that the settings name.
    """

    settings: Mapping[str, Any]
    read: Callable[[Path], Iterator[Row]] = read_rows


def _read_wikisql(path: Path) -> Iterator[Row]:
    for row in read_rows(path):
        text = row.value.get("text")
        if isinstance(text, str) and _ANSWER_MARK in text:
            asked, _, sql = text.partition(_ANSWER_MARK)
            yield Row({"question": asked, "sql": sql}, row.source)
        elif isinstance(row.value.get("question"), str) and isinstance(row.value.get("sql"), str):
            yield row
        else:
            raise DataError(
                f"{row.source}: the layout wikisql has 'text' with a line 'A: SELECT …', or 'question' and 'sql'."
            )


def _read_mt_bench(path: Path) -> Iterator[Row]:
    for row in read_rows(path):
        turns = row.value.get("turns")
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
            raise DataError(f"{row.source}: the layout mt_bench has 'turns', a list of questions; found {turns!r}.")
        yield Row({"category": "none", **row.value, "first": turns[0], "then": turns[1:]}, row.source)


LAYOUTS: dict[str, Layout] = {
    "gsm8k": Layout(
        {"prompt": "question", "reference": "answer", "scorer": "numeric", "examples": 4, "max_new_tokens": 400}
    ),
    "mbpp": Layout(
        {
            "prompt": "{text}\n\nYour code should pass these tests:\n\n{test_list}",
            "reference": {"tests": "test_list", "setup": "test_setup_code"},
            "answer": "```python\n{code}\n```",
            "scorer": "code",
            "examples": 3,
            "max_new_tokens": 400,
        }
    ),
    "banking77": Layout(
        {
            "prompt": "text",
            "reference": "category",
            "system_prompt": "Name the intent of the customer's message. Answer with one of these labels and nothing else: "
            "{labels}",
            "scorer": "classification",
            "slices": ["category"],
            "max_new_tokens": 24,
        }
    ),
    "wikisql": Layout(
        {"prompt": "question", "reference": "sql", "scorer": "exact_match", "examples": 4, "max_new_tokens": 96},
        _read_wikisql,
    ),
    "mt_bench": Layout(
        {"prompt": "first", "follow_ups": "then", "scorer": "answered", "slices": ["category"], "max_new_tokens": 512},
        _read_mt_bench,
    ),
}
