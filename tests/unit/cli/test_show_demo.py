"""The demo's last screen says numbers, intervals, right and wrong, where the report lies and what comes next."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from luthier.cli.show_demo import show_demo
from luthier.evaluation.compare import Interval
from luthier.types import Check
from luthier.workflows.demo import ContenderResult, DemoExample, DemoResult


def test_the_screen_holds_all_that_was_promised() -> None:
    example = DemoExample("How many [x] customers?", "SELECT 1", "No idea", False, "SELECT\n2", False, "SELECT 1", True)
    result = DemoResult(
        run=Path("runs/demo"),
        report=Path("runs/demo/report.html"),
        seconds=200.0,
        base=ContenderResult(0.05, 0.02, 0.1, 120),
        few_shot=ContenderResult(0.2, 0.15, 0.25, 120),
        tuned=ContenderResult(0.7, 0.62, 0.78, 120),
        difference=Interval(0.65, 0.5, 0.8),
        difference_few_shot=Interval(0.5, 0.4, 0.6),
        examples=[example] * 4,
        checks=[Check("a", "A holds.", 1, 1, "", True, ""), Check("b", "B holds.", 0, 1, "", False, "Look at b.")],
    )
    console = Console(file=io.StringIO(), width=80, highlight=False, markup=False)
    show_demo(console, result)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for words in (
        "120 held-out questions", "5.0 %", "20.0 %", "70.0 %", "62.0 % to 78.0 %",
        "Gain over the base model: +65.0 points (paired 95 % interval +50.0 to +80.0)",
        "Gain over examples in the prompt: +50.0 points",
        "base     wrong  No idea", "few-shot wrong  SELECT 2", "tuned    right  SELECT 1",
        "1 checks passed, 1 failed", "Look at b.", "generated", "Q4_1",
        "Report: runs/demo/report.html", "luthier train recipes/sft_lora.yaml",
    ):  # fmt: skip
        assert words in text, words
    assert text.count("How many [x] customers?") == 3
