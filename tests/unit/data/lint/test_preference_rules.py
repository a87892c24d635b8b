"""Rules on preference pairs, labelled answers and texts with a class; and which of the others look at such rows, and how."""

from __future__ import annotations

import random

import pytest
from scipy.stats import binomtest

from luthier.data.lint.catalogue import RULES
from luthier.data.lint.length_bias import wilson_interval
from luthier.data.lint.row import ClassifiedText, LintRow
from luthier.data.lint.rule import Look
from luthier.data.lint.swapped_pair import is_refusal
from luthier.types import LabelledAnswer, Message, PreferencePair, Source
from tests.unit.data.lint.rows import ask, chat, document, found

ROLES = ("assistant", "user")


def pair(
    chosen: str | tuple[str, ...], rejected: str | tuple[str, ...], line: int = 1, prompt: str = "How?", **more: float
):
    sides = [
        tuple(Message(ROLES[i % 2], turn) for i, turn in enumerate((side,) if isinstance(side, str) else side))  # type: ignore[arg-type]
        for side in (chosen, rejected)
    ]
    return PreferencePair((Message("user", prompt),), *sides, source=Source("rows.jsonl", line), **more)  # type: ignore[arg-type]


def labelled(answer: str, is_good: bool, line: int = 1, prompt: str = "How?") -> LabelledAnswer:
    return LabelledAnswer(
        (Message("user", prompt),), (Message("assistant", answer),), is_good, Source("rows.jsonl", line)
    )


def classified(text: str, label: str, line: int = 1) -> ClassifiedText:
    return ClassifiedText(text, label, Source("rows.jsonl", line))


def test_identical_pairs():
    rows = [pair("Yes,  it is.", "Yes, it is.\n"), pair("Yes, it is.", "Yes, it is", 2), pair("Yes.", "No.", 3)]
    assert found("identical_pair", *rows) == [1]


def test_prompts_that_differ():
    same = ("Hello.", "And then?", "Fine.")
    rows = [
        pair(same, ("Hello.", "and then", "Bad.")),
        pair(same, ("Hello.", "Who are you?", "Bad."), 2),
        pair(same, "Hello.", 3),
        pair("Fine.", "Bad.", 4),
    ]
    assert found("prompt_differs", *rows) == [2, 3]
    (finding,) = ask("prompt_differs", rows[1:2])
    assert finding.example == "chosen: And then? / rejected: Who are you?"


def test_length_bias_names_the_share_with_its_interval():
    long, short = "A long answer with many words in it.", "Short."
    rows = [pair(long, short, i) if i < 90 else pair(short, long, i) for i in range(100)]
    rows += [pair("Equal one.", "Equal two.", 200 + i) for i in range(50)]
    (finding,) = ask("length_bias", rows)
    expected = binomtest(90, 100).proportion_ci(0.95, method="wilson")
    assert (finding.severity, finding.num_rows) == ("warning", 90)
    assert "90.0 % of 100 pairs" in finding.message
    assert f"{100 * expected.low:.1f} % to {100 * expected.high:.1f} %" in finding.message
    (note,) = ask("length_bias", [pair(short, long, i) if i < 72 else pair(long, short, i) for i in range(100)])
    assert note.severity == "note"
    assert "shorter one in 72.0 %" in note.message
    assert ask("length_bias", [pair(long, short, i) if i % 2 else pair(short, long, i) for i in range(100)]) == []
    assert ask("length_bias", rows[:20]) == []  # too few to say


def test_wilson_interval_equals_scipys():
    for count, total in ((0, 5), (5, 5), (37, 112), (900, 1000)):
        theirs = binomtest(count, total).proportion_ci(0.95, method="wilson")
        assert wilson_interval(count, total) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


WHOLE = "This is a whole answer that says everything there is to say about the matter."
CUT = "This is an answer that was cut off in the middle of what it had to say about the"


def test_swapped_pairs_by_form_and_score():
    rows = [
        pair(CUT, WHOLE),
        pair("", WHOLE, 2),
        pair(WHOLE, "Fine.", 3, margin=-1.0),
        pair(WHOLE, CUT, 4),
        pair(WHOLE, "", 5),
        pair(CUT, CUT + " and the", 6),
        pair(WHOLE, "Fine.", 7, margin=1.0),
    ]
    (finding,) = ask("swapped_pair", rows)
    assert [source.line for source in finding.rows] == [1, 2, 3]
    assert "1 cut off, 1 empty, 1 rated lower" in finding.message


def test_refusals_that_are_chosen_are_a_note_of_their_own():
    refusal = "I'm sorry, but I cannot help you with that."
    (finding,) = ask(
        "swapped_pair", [pair(refusal, WHOLE), pair(WHOLE, refusal, 2), pair(refusal, refusal + " Ever.", 3)]
    )
    assert (finding.severity, finding.num_rows, finding.rows[0].line) == ("note", 1, 1)


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        ("I cannot provide you with that information.", True),
        ("As an AI language model, I am not capable of having feelings.", True),
        ("Unfortunately, I don’t have the ability to open links.", True),
        ("抱歉，我无法回答这个问题。", True),
        ("I'm sorry to hear that! Here is what you can do.", False),
        ("I apologize for the confusion. The answer is 4.", False),
        ("As an AI, I can suggest several ways.", False),
        ("I cannot go to the park because it rains.", False),
        ("Sure, here it is.", False),
    ],
)
def test_refusals(answer: str, refuses: bool):
    assert is_refusal(answer) is refuses


def test_judgements_that_contradict_each_other():
    rows = [
        pair("Tea.", "Coffee."),
        pair("coffee", "tea", 2),
        pair("Tea.", "Coffee.", 3, prompt="Another question"),
        pair("Tea.", "Water.", 4),
    ]
    assert found("conflicting_preferences", *rows) == [1, 2]
    answers = [
        labelled("Tea.", True),
        labelled("tea", False, 2),
        labelled("Coffee.", True, 3),
        labelled("Tea.", True, 4),
    ]
    assert found("conflicting_preferences", *answers) == [1, 2]


def test_conflicting_labels():
    rows = [classified("Where is it?", "map"), classified("where is it", "lost", 2), classified("Who?", "map", 3)]
    assert found("conflicting_labels", *rows) == [1, 2]
    assert ask("conflicting_answers", rows) == []


def test_classes_are_weighed():
    rows = [classified(f"Text {i}", "good" if i < 95 else "bad", i + 1) for i in range(100)]
    (finding,) = ask("class_imbalance", rows)
    assert "'good' has 95 of 100 rows" in finding.message


def test_of_a_pair_the_chosen_answer_is_imitated_and_both_are_read():
    row = LintRow(pair("Chosen.", "Rejected: mail anna@posteo.net"), 0)
    assert (row.kind, row.answers, row.prompts) == ("preference", ["Chosen."], "How?")
    assert "Rejected" in row.whole
    assert found("personal_data", pair("Chosen.", "mail anna@posteo.net")) == [1]
    assert found(
        "boilerplate", pair("Fine.", "As an AI language model, I …"), pair("As an AI language model, I …", "x", 2)
    ) == [2]


def test_what_is_labelled_bad_is_not_imitated():
    assert LintRow(labelled("Bad.", False), 0).answers == []
    assert LintRow(labelled("Good.", True), 0).answers == ["Good."]
    assert found("empty_answer", labelled("", False), labelled("", True, 2)) == [2]


def test_rows_that_compare_the_same_are_equal_and_others_are_not():
    rows = [pair("A b c.", "D."), pair("A b c", "d", 2), pair("A b c.", "E.", 3)]
    assert found("duplicate_rows", *rows) == [2]
    answers = [labelled("A.", True), labelled("a", True, 2), labelled("A.", False, 3)]
    assert found("duplicate_rows", *answers) == [2]


def test_rules_are_asked_about_rows_of_their_kinds_alone():
    looking = Look([RULES[name] for name in ("length_bias", "conflicting_answers", "few_rows")])
    for row in (chat("Q", "A"), document("Text.", 2)):
        looking.see(row)
    assert [looking.is_asked(RULES[name]) for name in ("length_bias", "conflicting_answers", "few_rows")] == [
        False,
        True,
        True,
    ]
    assert looking.kinds == {"chat": 1, "text": 1}


def test_a_million_pairs_would_pass_in_minutes():
    import time

    rng = random.Random(0)
    words = [f"word{i}" for i in range(500)]
    rows = [
        pair(
            " ".join(rng.choices(words, k=40)), " ".join(rng.choices(words, k=40)), i, " ".join(rng.choices(words, k=9))
        )
        for i in range(2000)
    ]
    names = ("identical_pair", "prompt_differs", "swapped_pair", "length_bias", "conflicting_preferences")
    looking = Look([RULES[name] for name in names])
    started = time.process_time()
    for row in rows:
        looking.see(row)
    assert (time.process_time() - started) / len(rows) < 480e-6  # all rules together have as much a row
