"""The parts of the report that newer evaluations bring; what earlier ones wrote is in test_report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from luthier.pages.report import write_report
from luthier.pages.report.scale import Scale
from tests.unit.pages.run_folder import SCRIPT, answer, comparison, contender, write_json, write_lines, write_run
from tests.unit.pages.test_report import Page


def _page(folder: Path, summary: dict[str, Any], lines: list[dict[str, Any]] | None = None) -> Page:
    run = write_run(folder / "run")
    write_json(run / "evaluation/sql/summary.json", summary)
    if lines is not None:
        write_lines(run / "evaluation/sql/rows.jsonl", lines)
    return Page(write_report(run))


def _summary(**more: Any) -> dict[str, Any]:
    contenders = {
        "base": contender("base model, question only", 0.25, 0.05, 0.7, 4) | {"num_empty": 3},
        "tuned": contender("tuned model", 0.75, 0.3, 0.95, 4) | {"num_empty": 0},
    }
    return {
        "task": "sql",
        "metric": "accuracy_of_sql",
        "scorer": "s",
        "num_rows": 4,
        "lower_is_better": False,
        "is_share": True,
        "seconds": 1.5,
        "contenders": contenders,
        "comparisons": [
            comparison("base", 0.5, 0.125, 0.875, "better", 20) | {"p_value": 0.0123, "test": "McNemar (mid-p)"}
        ],
        "overlap": None,
    } | more


def test_empty_answers_and_p_value(tmp_path: Path) -> None:
    text = _page(tmp_path, _summary()).text("evaluation")
    assert "Empty" in text
    assert "p = 0.012, McNemar (mid-p)" in text


def test_measures_and_figures(tmp_path: Path) -> None:
    summary = _summary()
    summary["contenders"]["tuned"] |= {
        "measures": {"acc_norm": {"mean": 0.5, "low": 0.25, "high": 0.75}},
        "figures": {"macro_f1": 0.333333, "confusion": {"a": {"a": 3, SCRIPT: 1}, SCRIPT: {"a": 2}}},
    }
    page = _page(tmp_path, summary)
    text = page.text("evaluation")
    assert "acc norm – 0.5 (0.25…0.75)" in text
    assert "macro f1 – 0.3333" in text
    assert "Right labels and those answered: tuned model" in text
    shades = [attributes.get("class") for tag, attributes in page.elements if tag == "td"]
    assert "num shade-4" in shades  # 3 of 4
    assert "num shade-5" in shades  # 2 of 2


def test_rows_of_the_training_data_are_told_with_what_is_left_without_them(tmp_path: Path) -> None:
    overlap = {
        "num_training_rows": 50,
        "num_rows": 3,
        "kinds": {"equal": 2, "near": 1},
        "rows": [{"id": "a", "kind": "equal", "training_row": f"{SCRIPT}:7"}],
        "without": {
            "num_rows": 1,
            "contenders": {
                "base": {"mean": 0.0, "low": 0.0, "high": 0.5},
                "tuned": {"mean": 1.0, "low": 0.5, "high": 1.0},
            },
            "comparisons": [comparison("base", 1.0, 0.1, 1.0, "too few rows", None)],
        },
    }
    text = _page(tmp_path, _summary(overlap=overlap)).text("evaluation")
    assert "3 of 4 questions are in the training data too (2 equal, 1 nearly equal)." in text
    assert "Without them (1 questions): base model, question only 0.0 % (0.0…50.0 %); tuned model 100.0 %" in text
    assert "tuned model − base model, question only: +100.0 (10.0…100.0), too few rows." in text
    assert "a: equal, <script>" in text


def test_differences_in_groups_are_shown_shrunk(tmp_path: Path) -> None:
    summary = _summary()
    group = {"mean": 0.5, "num_rows": 4, "shrunk": 0.4, "low": 0.1, "high": 0.7}
    summary["comparisons"][0]["slices"] = {"kind": {"join": group}}
    text = _page(tmp_path, summary).text("evaluation")
    assert "+40 (10…70)" in text
    assert "Small groups are extreme by chance" in text


def test_bits_per_byte(tmp_path: Path) -> None:
    """Less is better, nothing is in percent, and what rose is a regression."""
    summary = _summary(metric="bits_per_byte", lower_is_better=True, is_share=False)
    for name, mean in (("base", 2.5), ("tuned", 1.25)):
        entry = summary["contenders"][name]
        entry |= {"bits_per_byte": mean, "low": mean - 0.1, "high": mean + 0.1}
        del entry["share_stopped"]
    summary["comparisons"][0]["difference"] = {"mean": -1.25, "low": -1.5, "high": -1.0}
    lines = []
    for row, (base, tuned) in {"a": (2.0, 1.0), "b": (1.0, 3.5)}.items():
        for name, score in (("base", base), ("tuned", tuned)):
            lines.append(
                answer(row, name, score) | {"answer": "", "finish_reason": None, "why": f"{score} bits per byte"}
            )
    page = _page(tmp_path, summary, lines)
    text = page.text("evaluation")
    headline = " ".join(" ".join(" ".join(part) for part in page.texts.values()).split())
    assert "Better: bits per byte fell from 2.5 to 1.25 (−1.25, 95 % interval −1.5…−1)" in headline
    assert "0 to 2.6" in text
    assert "−1.5 · 0 · +1.5" in text
    assert "Less is better." in text
    assert "1 better, 1 worse." in text
    assert text.index("Question b?") < text.index("Question a?")  # the regression first
    assert "(measured, nothing was generated)" in text
    assert "✓ right" not in text
    assert "✗ wrong" not in text


def test_scale_of_shares_and_of_others() -> None:
    shares = Scale()
    assert (shares.score(0.5), shares.difference(0.1), shares.place(0.0), shares.place(1.0)) == (
        "50\u00a0%",
        "+10",
        50.0,
        100.0,
    )
    other = Scale(is_share=False, most=4.0, widest=2.0)
    assert (other.score(3.14159), other.difference(0.5), other.difference(-0.5)) == ("3.142", "+0.5", "−0.5")
    assert (other.bar(2.0, 1.0, 4.0).width, other.place(-2.0), other.place(1.0)) == (50.0, 0.0, 75.0)
    assert Scale.of({"contenders": {}, "comparisons": []}) == Scale()
