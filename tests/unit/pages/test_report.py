from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from luthier.errors import RunError
from luthier.pages.report import write_report
from tests.unit.pages.run_folder import (
    NOTE,
    SCRIPT,
    answer,
    check,
    comparison,
    manifest,
    summary,
    write_json,
    write_lines,
    write_run,
)

VOID = {"meta", "input", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """Elements with attributes, text by section, and whether all tags are balanced."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(self.source)
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs).get("id") if tag == "section" else None))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self._open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data: str) -> None:
        section = next((name for _, name in reversed(self._open) if name), "title")
        if not any(tag in ("style", "script") for tag, _ in self._open):
            self.texts.setdefault(section, []).append(data)

    def text(self, section: str) -> str:
        """What can be read, with all kinds of space as one."""
        return " ".join(" ".join(self.texts.get(section, [])).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / "first")


def page(run: Path) -> Page:
    return Page(write_report(run))


def test_verdict_comes_first_in_one_sentence(run: Path) -> None:
    assert write_report(run) == run / "report.html"
    assert (
        "Better: accuracy of sql rose from 25 % to 75 % (+50 points, 95 % interval 12…88), 4 questions; "
        "2 of 2 checks passed."
    ) in page(run).text("title")


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        ("no evidence", "No evidence of a change: accuracy of sql rose from 25 % to 75 %"),
        ("too few rows", "Too few questions to judge: "),
        ("worse", "Worse: "),
    ],
)
def test_verdicts_in_words(run: Path, verdict: str, says: str) -> None:
    write_json(run / "evaluation/sql/summary.json", summary(verdict, needed=800))
    text = page(run).text("title")
    assert says in text
    assert ("(about 800 would show a difference of this size)" in text) == (verdict != "worse")


def test_failed_checks_come_before_better(run: Path) -> None:
    write_lines(run / "checks.jsonl", [check("data.one"), check("result.two", passed=False)])
    shown = page(run)
    assert "Better, but unverified: " in shown.text("title")
    assert "1 of 2 checks passed" in shown.text("title")
    checks = shown.text("checks")
    assert checks.index("Claim of result.two.") < checks.index("Claim of data.one.")
    assert "What to do: Advice of result.two." in checks
    assert "0.25 s" in checks
    assert "0.5 s" in checks


def test_further_comparisons_follow_the_verdict(run: Path) -> None:
    both = summary()
    both["contenders"]["few_shot"] = both["contenders"]["base"] | {"title": "base model, with examples"}
    both["comparisons"].append(comparison("few_shot", -0.25, -0.5, 0.125, "no evidence", None))
    write_json(run / "evaluation/sql/summary.json", both)
    assert (
        "Against the base model, with examples (accuracy of sql): no evidence, −25 points, 95 % interval −50…+12."
    ) in page(run).text("title")


def test_notes_about_data_and_model_are_shown(run: Path) -> None:
    assert NOTE in page(run).text("title")


def test_nothing_that_came_from_a_model_or_a_file_becomes_markup(run: Path) -> None:
    shown = page(run)
    assert SCRIPT not in shown.source
    assert shown.count("script") == 1
    assert f"tuned says {SCRIPT}" in shown.text("evaluation")
    assert f"empty answer {SCRIPT}" in shown.text("data")
    assert not any(name.startswith("on") for _, attributes in shown.elements for name in attributes)


def test_page_is_self_contained_and_says_so_to_the_browser(run: Path) -> None:
    shown = page(run)
    assert not re.search(r"https?://|@import|url\(|src=", shown.source.replace("http-equiv", ""))
    links = [attributes["href"] for tag, attributes in shown.elements if tag == "a"]
    assert links
    assert all(link is not None and link.startswith("#") for link in links)
    ids = {attributes["id"] for _, attributes in shown.elements if "id" in attributes}
    assert {link[1:] for link in links if link} <= ids
    policy = next(a["content"] for t, a in shown.elements if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    # Hashes allow no style attributes, so there must be none.
    assert not any("style" in attributes for _, attributes in shown.elements)


def test_page_can_be_read_without_seeing_it(run: Path) -> None:
    shown = page(run)
    for tag, attributes in shown.elements:
        if tag == "th":
            assert attributes.get("scope") in ("col", "row")
        if tag == "svg" and attributes.get("role") == "img":
            assert attributes.get("aria-label")
    levels = [int(tag[1]) for tag, _ in shown.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    assert "training: 2.9 at step 1, 2 at step 10, between 2 and 2.9" in shown.source
    ids = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_examples_stand_regressions_first_with_their_outcome(run: Path) -> None:
    outcomes = [a["data-outcome"] for t, a in page(run).elements if t == "article" and "data-outcome" in a]
    assert outcomes == ["regression", "wrong", "fixed", "right"]
    text = page(run).text("evaluation")
    assert "1 fixed by tuning, 1 regressions, 1 still wrong, 1 right before and after." in text
    assert "Cut off at the length limit." in text


def test_what_worked_examples_got_right_and_tuning_wrong_is_a_regression(run: Path) -> None:
    """Marked as one against the examples; the bare base model's own come first among equals, larger losses before smaller."""
    both = summary()
    both["contenders"]["few_shot"] = both["contenders"]["base"] | {"title": "base model, with examples"}
    write_json(run / "evaluation/sql/summary.json", both)
    scores = {
        "half": (0.75, 0.5, 0.5), "examples": (0.0, 1.0, 0.0), "both": (1.0, 1.0, 0.0), "gain": (0.0, 1.0, 1.0),
        "wrong": (0.0, 0.0, 0.0),
    }  # fmt: skip
    names = ("base", "few_shot", "tuned")
    rows = [answer(row, name, s) for row, three in scores.items() for name, s in zip(names, three, strict=True)]
    write_lines(run / "evaluation/sql/rows.jsonl", rows)
    shown = page(run)
    text = shown.text("evaluation")
    assert (
        "1 fixed by tuning, 3 regressions (1 of them only against the base model with examples), 1 still wrong" in text
    )
    places = [text.index(f"Question {row}?") for row in ("both", "examples", "half", "wrong", "gain")]
    assert places == sorted(places)
    assert "Regression against base model, question only and base model, with examples both" in text
    assert "Regression against base model, with examples examples" in text


def test_what_the_curves_show_stands_beside_them(run: Path) -> None:
    assert "Nothing odd" not in page(run).text("training"), "nobody has looked"
    write_json(run / "diagnosis.json", [])
    assert "Nothing odd in the curves" in page(run).text("training")
    record = {
        "kind": "learning_rate_too_high",
        "since_step": 4,
        "message": f"It rises {SCRIPT}.",
        "advice": "Lower it.",
    }
    write_json(run / "diagnosis.json", [record])
    shown = page(run)
    assert f"learning rate too high since step 4. It rises {SCRIPT}. What to try: Lower it." in shown.text("training")
    marks = [a for t, a in shown.elements if t == "line" and a.get("class") == "event"]
    assert marks[0]["x1"] == "33.33%", "step 4 of the steps 1 to 10"


def test_an_early_end_is_said_at_the_top(run: Path) -> None:
    write_json(run / "run.json", manifest(summary={"stopped_early": "Stopped early after step 8 of 10."}))
    assert "Stopped early after step 8 of 10." in page(run).text("title")


def test_memory_expected_and_measured(run: Path) -> None:
    trial = check("preflight.longest_row") | {"measured": 1.5, "limit": 8.0, "unit": "GiB"}
    write_lines(run / "checks.jsonl", [trial])
    shown = page(run)
    text = shown.text("memory")
    assert "tried before training 1.5 GiB" in text
    assert "the highest of the whole training 2.0 GiB" in text
    assert "8.0 GiB, all there is" in text
    widths = [a["width"] for t, a in shown.elements if t == "rect" and a.get("class") == "fill plain" and a.get("rx")]
    assert widths == ["18.75%", "25.0%"]
    write_lines(run / "checks.jsonl", [trial | {"measured": "out of memory: 3 GiB"}])
    assert "before both the trial step and a training step were measured" in page(run).text("memory")


def sampled(step: int, prompt: str, answer_: str, finish: str = "stop") -> dict[str, object]:
    return {
        "step": step,
        "prompt": f"<|user|>{prompt}\n<|assistant|>",
        "reference": "right",
        "answer": answer_,
        "finish": finish,
    }


def test_answers_over_time_stand_side_by_side(run: Path) -> None:
    answers = {0: (SCRIPT, "so so"), 5: ("right", "so so"), 10: ("right", "")}
    lines = [
        sampled(s, f"Ask {i}?", a, "length" if s == 0 else "stop")
        for s, two in answers.items()
        for i, a in enumerate(two)
    ]
    write_lines(run / "samples_over_time.jsonl", lines)
    text = page(run).text("progress")
    assert f"Untrained {SCRIPT} Cut off at the length limit. so so Cut off at the length limit." in text
    assert "Step 5 right = reference as untrained" in text
    assert "Step 10 = reference as step 5 (empty answer)" in text, "what has not changed is not shown again"
    assert text.index("Ask 0?") < text.index("Ask 1?") < text.index("Reference") < text.index("Untrained")


def test_many_validations_and_prompts_are_thinned_and_counted(run: Path) -> None:
    write_lines(
        run / "samples_over_time.jsonl", [sampled(s, f"Ask {i}?", f"{s}") for s in range(40) for i in range(13)]
    )
    shown = page(run)
    text = shown.text("progress")
    assert "8 of 40 validations and 12 of 13 prompts are shown; all are in samples_over_time.jsonl." in text
    assert "Step 39" in text
    assert sum(a.get("class", "").startswith("progress") for t, a in shown.elements if t == "table") == 4


def test_tokens_that_are_learnt_are_marked(run: Path) -> None:
    row = {
        "source": "rows.jsonl:3", "num_tokens": 106, "num_trained": 2, "ids": [11, 12, 13, 14, 15, 16],
        "pieces": ["<s>", " a\n", "", "é", SCRIPT, "\t"], "trained": [False, False, True, True, False, False], "gap_before": 4,
    }  # fmt: skip
    write_json(run / "token_view.json", [row])
    shown = page(run)
    text = shown.text("tokens")
    assert "rows.jsonl:3: 106 tokens, 2 learnt (2 %)" in text
    assert "<s> a↵ Learnt: ◦ é End of what is learnt." in text.replace("<s>  a", "<s> a")
    assert f"… 100 tokens left out … {SCRIPT}" in text
    titles = [a["title"] for t, a in shown.elements if t == "span" and "title" in a]
    assert titles == ["11", "12", "13, a part of the next character", "14", "15", "16"]
    assert '<mark class="learnt"><span class="hidden">Learnt: </span><span title="13' in shown.source
    # White space between tokens would be shown as if it were text.
    assert '<span title="11">&lt;s&gt;</span><span title="12"> a' in shown.source


def test_what_the_length_limit_cost(run: Path) -> None:
    data = json.loads((run / "data.json").read_text())
    assert "1 row dropped. The longest row has" in page(run).text("data")
    # The last of two bins ends at 128, where the limit is; it begins at 64, so 91 lies (1 + 27 / 64) / 2 to the right.
    assert [a["x1"] for t, a in page(run).elements if t == "line" and a.get("class") == "event"] == ["100.0%", "100.0%"]
    side_ = data["train"] | {"num_truncated_rows": 3, "num_lost_answer_tokens": 50, "longest_row_tokens": 181}
    write_json(run / "data.json", data | {"max_length": 91, "train": side_, "validation": side_ | {"dropped": []}})
    shown = page(run)
    assert "1 row dropped, 3 rows cut at 91 tokens, 50 answer tokens lost (16.7" in shown.text("data")
    marks = [a["x1"] for t, a in shown.elements if t == "line" and a.get("class") == "event"]
    assert marks == ["71.09%", "71.09%"]
    fine = side_ | {"num_truncated_rows": 0, "num_lost_answer_tokens": 0, "dropped": []}
    write_json(run / "data.json", data | {"max_length": 4096, "train": fine, "validation": fine})
    shown = page(run)
    assert "Nothing is lost: the longest row is 181 tokens long, the limit 4 096." in shown.text("data")
    assert not [a for t, a in shown.elements if t == "line" and a.get("class") == "event"]


def test_next_steps_name_the_run_as_it_is_typed(run: Path, tmp_path: Path) -> None:
    text = page(run).text("next")
    for command in ("chat first", "evaluate first", "compare first OTHER-RUN", "report first"):
        assert f"luthier {command}" in text
    elsewhere = write_run(tmp_path / "my place" / "second")
    assert f"luthier chat '{elsewhere}'" in page(elsewhere).text("next")


def test_training_is_summed_up(run: Path) -> None:
    text = page(run).text("training")
    assert "Tokens seen 1.0k of these trained 400 Time in steps 20 s Tokens per second 50 Peak memory 2.0 GiB" in text
    assert "Best validation loss 2.125 at step 10" in text


def test_recipe_shows_each_value_with_its_origin(run: Path) -> None:
    shown = page(run)
    text = shown.text("recipe")
    assert "learning_rate 0.0002 default for adapters" in text
    assert 'columns {prompt: "a # b"} recipe.yaml:5' in text
    assert "epochs 1.0 override" in text
    assert sum(a.get("class") == "chosen" for t, a in shown.elements if t == "tr") == 3


def test_data_and_environment(run: Path) -> None:
    data = page(run).text("data")
    for words in (
        "rows.jsonl",
        "5 rows (training)",
        "250 (25 %)",
        "rows.jsonl:7: empty answer",
        "A finding.",
        "A fix.",
    ):
        assert words in data
    environment = page(run).text("environment")
    assert "Memory 1.0 GiB" in environment
    assert "luthier train 'a b'" in environment


def test_samples_show_the_question_without_template_markers(run: Path) -> None:
    text = page(run).text("samples")
    assert f"Sample {SCRIPT} Reference r Before" in text
    assert "Cut off at the length limit" in text


def test_the_next_step_of_a_run_that_has_not_ended_well(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "early"
    (run / "checkpoints").mkdir(parents=True)
    write_json(run / "checkpoints" / "index.json", {})
    for status, command in (
        ("interrupted", "luthier train --resume early continue after the last checkpoint luthier runs"),
        ("failed", "luthier train --resume early continue after the last checkpoint, once the cause is removed"),
        ("running", "luthier watch early follow it luthier stop early"),
    ):
        write_json(run / "run.json", manifest(status=status, step=3, verdict=None, result=None, result_step=None))
        assert command in page(run).text("next")


def test_a_run_with_nothing_but_its_state(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "early"
    run.mkdir(parents=True)
    stopped = manifest(
        status="interrupted", step=3, verdict=None, result=None, result_step=None, error="stopped by you"
    )
    write_json(run / "run.json", stopped)
    shown = page(run)
    assert "Interrupted at step 3 of 10; no checks were made. Stopped by you" in shown.text("title")
    assert "begin anew; nothing was saved to go on from" in shown.text("next")
    sections = (
        "evaluation",
        "training",
        "memory",
        "progress",
        "samples",
        "checks",
        "data",
        "tokens",
        "recipe",
        "environment",
    )
    for section in sections:
        assert len(shown.text(section)) > 30, section


def test_a_trained_run_without_evaluation(run: Path) -> None:
    (run / "evaluation/sql/summary.json").unlink()
    shown = page(run)
    assert "Trained: validation loss 0.5; 2 of 2 checks passed; no evaluation has compared it" in shown.text("title")
    assert "luthier evaluate first --task my_task.yaml" in shown.text("next"), "the recipe names no task"


def test_a_damaged_part_is_named_and_hides_nothing_else(run: Path) -> None:
    (run / "data.json").write_text("{")
    (run / "samples.jsonl").write_text('{"step": 1}\n')
    shown = page(run)
    assert "data.json cannot be shown" in shown.text("data")
    assert "samples.jsonl cannot be shown: it has no entry 'prompt'" in shown.text("samples")
    assert "Better: " in shown.text("title")


def test_without_run_json_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No run at"):
        write_report(tmp_path)
    write_json(tmp_path / "run.json", {"name": "x"})
    with pytest.raises(RunError, match="is not the record of a run"):
        write_report(tmp_path)


def test_values_that_are_not_finite_are_left_out_and_counted(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "validation", "step": 11, "loss": NaN, "tokens": 10}\n')
    shown = page(run)
    assert "1 values were not finite and are not drawn." in shown.text("training")
    assert "nan" not in shown.text("training").lower()


def test_large_runs_stay_within_the_page_limit(run: Path) -> None:
    long = "«" * 5000
    rows = [
        answer(f"row-{i}", name, 0.0) | {"answer": long, "why": long} for i in range(600) for name in ("base", "tuned")
    ]
    write_lines(run / "evaluation/sql/rows.jsonl", rows)
    step = next(iter_metrics(run))
    write_lines(run / "metrics.jsonl", [step | {"step": i, "loss": 1 / i} for i in range(1, 20_001)])
    sample = {"step": 8, "reference": long, "base": long, "tuned": long, "base_finish": "stop", "tuned_finish": "stop"}
    write_lines(run / "samples.jsonl", [sample | {"prompt": long}] * 100)
    shown = page(run)
    assert len(shown.source.encode()) < 1_500_000
    assert "of 600 are shown here; all of them are in evaluation/sql/rows.jsonl" in shown.text("evaluation")
    assert "Long series are drawn as means" in shown.text("training")


def iter_metrics(run: Path):

    return (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
