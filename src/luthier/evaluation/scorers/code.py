"""Right if the Python code in the answer passes its tests, run in the sandbox (see there for what that keeps apart).

A row's reference holds `tests` (asserts as one text or a list) and, optionally, `setup`: code that runs before the answer's.
With several samples to a question pass@k is estimated without bias (Chen et al. 2021, arXiv:2107.03374): see `Generation`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from luthier.evaluation.protocol import Score, Scorer, TaskRow
from luthier.evaluation.sandbox import MEMORY_BYTES, run_program

_FENCE = re.compile(r"```[ \t]*(?P<language>[a-zA-Z0-9+]*)[ \t]*\n(?P<code>.*?)(?:```|\Z)", re.DOTALL)
_BEGINS_CODE = re.compile(
    r"^(?:def |class |import |from \w+(?:\.\w+)* import |@|async def |[A-Za-z_]\w*\s*=)", re.MULTILINE
)


class Code(Scorer):
    """Runs answers.

    Args:
        seconds: Time limit of one answer with its tests.
        memory_bytes: Limit of its memory.
    """

    name = "code"
    metric = "pass@1"

    def __init__(self, *, seconds: float = 5.0, memory_bytes: int = MEMORY_BYTES) -> None:
        self._seconds = seconds
        self._memory_bytes = memory_bytes

    def reference_problem(self, reference: Any) -> str:
        """There must be tests, and they must be Python."""
        if not isinstance(reference, Mapping) or not reference.get("tests"):
            return "there are no tests in it; give reference: {tests: COLUMN} in the task"
        try:
            ast.parse(f"{_text(reference.get('setup'))}\n{_text(reference['tests'])}")
        except (SyntaxError, ValueError) as error:
            return f"the tests are no Python: {error}"
        return ""

    def score(self, row: TaskRow, answer: str) -> Score:
        """1 where all tests pass."""
        code = find_code(answer)
        if not code.strip():
            return Score(0.0, "there is no code in the answer" if answer.strip() else "the answer is empty")
        parts = (_text(row.reference.get("setup")), code, _text(row.reference["tests"]))
        run = run_program("\n\n".join(parts), seconds=self._seconds, memory_bytes=self._memory_bytes)
        return Score(float(run.finished), "passes its tests" if run.finished else run.why, code)


def find_code(answer: str) -> str:
    """The Python code in an answer: fenced blocks that are Python, else the longest stretch of lines that is.

    Several fenced blocks are put together, as an answer may define in one what it uses in the next; where that does not
    parse, the longest that does is taken.
    """
    blocks = [m["code"] for m in _FENCE.finditer(answer) if m["language"].lower() in ("", "python", "py", "python3")]
    if blocks:
        together = "\n\n".join(blocks)
        fitting = [block for block in blocks if _parses(block)]
        return together if _parses(together) or not fitting else max(fitting, key=len)
    if _parses(answer):
        return answer
    begins = _BEGINS_CODE.search(answer)
    if begins is None:
        return answer
    lines = answer[begins.start() :].splitlines()
    for count in range(len(lines), 0, -1):
        if _parses("\n".join(lines[:count])):
            return "\n".join(lines[:count])
    return answer


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _text(part: Any) -> str:
    if part is None:
        return ""
    return part if isinstance(part, str) else "\n".join(str(line) for line in part)
