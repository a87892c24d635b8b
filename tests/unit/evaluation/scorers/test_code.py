from __future__ import annotations

import pytest

from luthier.evaluation.scorers.code import Code, find_code
from tests.unit.evaluation.scorers.rows import row

TESTS = {"tests": ["assert double(2) == 4", "assert double(0) == 0"]}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("x = 1", "x = 1"),
        ("Sure!\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1", "x = 1"),
        ("```python\nx = 1\n```\nand\n```python\ny = x\n```", "x = 1\n\n\ny = x\n"),
        ("```bash\npip install x\n```\n```python\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1\n```\n```\nnot python at all\n```", "x = 1\n"),
        ("Here it is:\ndef f(x):\n    return x\n\nIt returns x, as you asked.", "def f(x):\n    return x\n"),
        ("no code here", "no code here"),
    ],
)
def test_code_in_answers(answer: str, code: str) -> None:
    assert find_code(answer) == code


@pytest.mark.parametrize(
    ("answer", "right", "why"),
    [
        ("def double(x):\n    return 2 * x", 1, "passes its tests"),
        ("def double(x):\n    return x * x", 1, "passes its tests"),  # 2² = 4, 0² = 0: tests are what they are
        ("def double(x):\n    return x", 0, "AssertionError"),
        ("def dubble(x):\n    return 2 * x", 0, "name 'double' is not defined"),
        ("def double(x:\n    return 2 * x", 0, "SyntaxError"),
        ("", 0, "the answer is empty"),
        ("```python\n\n```", 0, "no code"),
        ("import sys\nsys.exit(0)", 0, "ended itself"),
        ("import os\nos._exit(0)", 0, "ended itself"),
    ],
)
def test_answers_are_run(answer: str, right: float, why: str) -> None:
    score = Code().score(row(TESTS), answer)
    assert score.value == right
    assert why in score.why


def test_setup_runs_first_and_main_blocks_do_not() -> None:
    reference = {"setup": "import math", "tests": "assert root(4) == 2"}
    answer = "def root(x):\n    return math.sqrt(x)\n\nif __name__ == '__main__':\n    print(root(int(input())))"
    assert Code().score(row(reference), answer).value == 1.0


def test_references() -> None:
    assert Code().reference_problem(TESTS) == ""
    assert "there are no tests" in Code().reference_problem({"tests": None})
    assert "there are no tests" in Code().reference_problem("assert x")
    assert "no Python" in Code().reference_problem({"tests": "assert ("})
