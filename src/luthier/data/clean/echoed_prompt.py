"""A question that its answer begins with is cut from the answer.

The answer must stand in a place of its own: in a transcript of several turns, or where two answers of a row are equal, it stays.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from luthier.data.clean.repair import Edit, Mend, RepairRow, found_by
from luthier.data.content import end_of_words, normalised
from luthier.data.lint.echoed_prompt import RULE, begins_with

_BETWEEN = re.compile(r"[?.!:;,\"'”’»)*…]*\s*")


def _edits(row: RepairRow) -> Iterator[Edit]:
    messages = row.lint.messages
    for asked, answer in itertools.pairwise(messages):
        if asked.role != "user" or answer.role != "assistant" or not answer.is_trained:
            continue
        shorter = without_prompt(answer.content, asked.content)
        if shorter != answer.content:
            places = [place for place, text in row.texts() if place.role == "assistant" and text == answer.content]
            if len(places) == 1:
                yield Edit(places[0].path, shorter)


def without_prompt(answer: str, prompt: str) -> str:
    """The answer behind the question, if it begins with it."""
    if not begins_with(answer, prompt):
        return answer
    words = normalised(prompt)
    end = end_of_words(answer, len(words.split()))
    if normalised(answer[:end]) != words:  # letters that change their number in lower case
        return answer
    between = _BETWEEN.match(answer, end)
    rest = answer[between.end() if between else end :]
    return rest if rest.strip() else answer


REPAIR = Mend("echoed_prompt", "cut the question from the answer", False, lambda _: _edits, found_by(RULE))
