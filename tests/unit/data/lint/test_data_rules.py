"""Rules about all rows together: planted cases, clean data, and what the rules share."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from luthier.data.lint import catalogue
from luthier.data.lint.catalogue import RULES, choose_rules, describe_rules
from luthier.data.lint.rule import look
from luthier.data.personal.card import passes_luhn
from luthier.errors import InputError
from luthier.types import Conversation, Finding, Message, Source
from tests.unit.data.lint.rows import ask, chat, clean_rows, conversation, document, found


def rule_names(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


def test_clean_rows_give_no_finding():
    assert look(choose_rules().rules, clean_rows(600)) == []


def test_every_file_of_a_rule_is_in_the_catalogue_and_opens_by_saying_what_it_is_for():
    folder = Path(catalogue.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "catalogue", "rule", "row"}
    assert files == set(RULES)
    for name in files:
        opening = (folder / f"{name}.py").read_text(encoding="utf-8").split('"""')[1]
        assert re.search(r"Finds: .+Hurts: .+Do: ", opening, re.DOTALL), name


def test_a_misspelt_rule_is_explained():
    with pytest.raises(InputError, match="Did you mean 'duplicate_rows'"):
        choose_rules(["duplicate_row"])
    chosen = choose_rules(["secrets", "few_rows", "secrets"])
    assert [rule.name for rule in chosen.rules] == ["secrets", "few_rows"]
    with pytest.raises(InputError, match="needs evaluation sets"):
        choose_rules(["contamination"])
    without = choose_rules(skip=["secrets", "thinking"])
    assert {"secrets", "thinking"}.isdisjoint(rule.name for rule in without.rules)
    assert ("secrets", "skipped") in without.not_run
    assert dict(without.not_run)["contamination"] == "needs evaluation sets (--against FILE)"


def test_every_rule_is_described():
    words = {rule.name: rule for rule in describe_rules()}
    assert list(words) == list(RULES)
    assert all(rule.finds and rule.hurts and rule.do for rule in words.values())
    assert words["thinking"].needs.startswith("a tokenizer")
    assert words["length_bias"].kinds == ("preference",)
    assert words["secrets"].kinds == ()


@pytest.mark.parametrize(
    ("count", "severity"), [(1, "warning"), (99, "warning"), (100, "note"), (499, "note"), (500, None)]
)
def test_few_rows(count: int, severity: str | None):
    findings = ask("few_rows", clean_rows(count))
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def test_duplicates_are_counted_without_their_first():
    rows = clean_rows(20)
    again = [chat(rows[3].messages[0].content.upper(), rows[3].messages[1].content + "!", line=100)]
    assert found("duplicate_rows", *rows, *again, *again) == [100, 100]
    assert found("near_duplicates", *rows, *again) == []


def test_near_duplicates_name_their_like():
    rng = random.Random(0)
    words = [
        rng.choice(["river", "stone", "lamp", "garden", "winter", "copper", "violin", "orange", "ladder", "harbour"])
        for _ in range(60)
    ]
    near = [*words[:30], "changed", *words[31:]]
    rows = [*clean_rows(30), chat("Tell me", " ".join(words), line=200), chat("Tell me", " ".join(near), line=201)]
    (finding,) = ask("near_duplicates", rows)
    assert (finding.num_rows, finding.rows, finding.example) == (
        1,
        (Source("rows.jsonl", 201),),
        "nearly equal to line 200",
    )
    assert found("near_duplicates", *clean_rows(200)) == []


def test_conflicting_answers():
    rows = [
        chat("Is it so?", "Yes."),
        chat("is it so", "No.", line=2),
        chat("Is it so?", "Yes.", line=3),
        chat("B?", "C.", line=4),
    ]
    assert found("conflicting_answers", *rows) == [1, 2, 3]
    assert found("conflicting_answers", rows[0], rows[2], rows[3]) == []


def test_answer_length():
    rows = clean_rows(100)
    rows[10] = chat("Explain glass.", "No.", line=11)
    rows[20] = chat("Explain bread.", "Bread rises slowly. " * 3000, line=21)
    short, long = ask("answer_length", rows)
    assert (short.rows[0].line, short.example) == (11, "3 characters")
    assert (long.rows[0].line, long.example) == (21, "60,000 characters")
    labels = [chat(f"Text {i}", "yes" if i % 2 else "no", line=i + 1) for i in range(100)]
    assert ask("answer_length", [*labels, chat("Text", "perhaps not", line=101)]) == []


@pytest.mark.parametrize(
    "answer",
    [
        "Bees keep warm in winter by moving their wings and by sitting close to the",
        "There are three kinds of bees that live in a hive: workers, drones,",
        "Here is the program that you asked for, with comments:\n```python\nprint('hello')\n",
    ],
)
def test_answers_that_stop_in_the_middle(answer: str):
    assert found("truncated_answers", chat("How?", answer)) == [1]


@pytest.mark.parametrize(
    "answer",
    [
        "Bees keep warm in winter by moving their wings and by sitting close together.",
        "Bees:\n- keep warm by moving their wings\n- sit close to one another in the middle of the hive",
        "```python\nprint('hello')\n```\nThis prints a greeting to the person who runs it!",
        "the",
        "You keep bees warm as described in the book that everybody in the village reads aloud",
    ],
)
def test_whole_answers(answer: str):
    assert found("truncated_answers", chat("How?", answer)) == []


def test_a_limit_on_tokens_shows_in_the_longest_answers():
    rows = clean_rows(100)
    for i in range(12):
        text = rows[i].messages[1].content
        rows[i] = chat("Tell all", f"{text} {text} {text} and then all of the people went on to see what", line=i + 1)
    assert len(found("truncated_answers", *rows[:10], *rows[12:])) == 10
    without_stops = [chat(f"Q {i}", row.messages[1].content.rstrip("."), line=i + 1) for i, row in enumerate(rows[12:])]
    assert found("truncated_answers", *without_stops) == []


def test_system_prompts():
    with_one = [chat(f"Q {i}", "A.", system="Be brief.", line=i + 1) for i in range(10)]
    assert found("system_prompts", *with_one) == []
    assert found("system_prompts", *with_one, chat("Q", "A.", line=50)) == [50]
    assert found("system_prompts", *[chat(f"Q {i}", "A.", line=i + 1) for i in range(10)], with_one[0]) == [1]
    (mixed,) = ask("system_prompts", [*with_one, chat("Q", "A.", system="Be long.", line=60)])
    assert (mixed.severity, mixed.num_rows, mixed.rows[0].line) == ("note", 1, 60)
    each_its_own = [chat(f"Q {i}", "A.", system=f"You are person {i}.", line=i + 1) for i in range(10)]
    assert ask("system_prompts", each_its_own) == []


def test_mixed_formats():
    prose = clean_rows(40)
    data = [chat(f"Give item {i}", f'{{"name": "thing {i}"}}', line=100 + i) for i in range(5)]
    (finding,) = ask("mixed_formats", [*prose, *data])
    assert (finding.severity, finding.num_rows) == ("warning", 5)
    assert "answer in JSON, the others in prose" in finding.message
    marked = [
        chat("List it", "# Title\n\n" + row.messages[1].content, line=200 + i) for i, row in enumerate(prose[:20])
    ]
    (finding,) = ask("mixed_formats", [*prose, *marked])
    assert (finding.severity, finding.num_rows) == ("note", 20)
    assert ask("mixed_formats", data * 10) == []


def test_class_imbalance():
    even = [chat(f"Text {i}", ("good", "bad", "neutral")[i % 3], line=i + 1) for i in range(90)]
    assert ask("class_imbalance", even) == []
    (rare,) = ask("class_imbalance", [*even, chat("Text", "angry", line=91)])
    assert (rare.num_rows, rare.rows[0].line) == (1, 91)
    (flood,) = ask("class_imbalance", [*even[:30], *[chat(f"More {i}", "good", line=i) for i in range(200)]])
    assert "'good' has 210 of 230 rows (91.3 %)" in flood.message
    assert ask("class_imbalance", clean_rows(100)) == []


def test_language_mix():
    german = "Bienen halten sich im Winter warm, indem sie eng zusammensitzen und ihre Flügel bewegen, ohne dabei zu fliegen."
    strays = [chat("How?", f"{german} Nummer {i} sitzt außen.", line=500 + i) for i in range(3)]
    (finding,) = ask("language_mix", [*clean_rows(60), *strays])
    assert [source.line for source in finding.rows] == [500, 501, 502]
    asked_for = [chat("Translate into German: bees", f"{german} Nummer {i}.", line=500 + i) for i in range(3)]
    assert ask("language_mix", [*clean_rows(60), *asked_for]) == []


def test_personal_data_is_counted_by_kind_and_never_shown_whole():
    rows = [
        chat("Write to anna.berg@posteo.net", "Call +49 30 901820 or use GB82 WEST 1234 5698 7654 32."),
        chat("My card is 4539 1488 0343 6467", "Noted.", line=2),
        document("Nothing here but 12 apples and the year 1984.", line=3),
    ]
    (finding,) = ask("personal_data", rows)
    assert (finding.num_rows, [s.line for s in finding.rows]) == (2, [1, 2])
    for words in ("1 e-mail", "1 IBAN", "1 phone", "1 card"):
        assert words in finding.message
    assert "anna.berg" not in finding.example
    assert passes_luhn("4539148803436467")


def test_secrets_are_errors_and_guesses_are_warnings():
    (known,) = ask("secrets", [chat("Key?", "Use AKIAIOSFODNN7QWERTYU in the script.")])
    assert (known.severity, known.example) == ("error", "aws key AKI…TYU")
    (guess,) = ask("possible_secrets", [chat("Key?", "password = 'g7Kq2vXw9ZrT4mLp'")])
    assert guess.severity == "warning"
    assert "g7Kq2vXw9ZrT4mLp" not in guess.example
    assert found("possible_secrets", chat("Key?", "password = 'YOUR_PASSWORD_HERE1'")) == []


def test_documents_and_rows_without_a_place_are_taken():
    nowhere = Conversation((Message("user", "Hello"), Message("assistant", "")))
    (finding,) = ask("empty_answer", [nowhere])
    assert (finding.rows, finding.num_rows) == ((), 1)
    documents = [document(f"Text number {i} about bees and their long way home through the rain.", i) for i in range(5)]
    assert rule_names(look(choose_rules().rules, documents)) == {"few_rows"}


def test_more_rows_than_are_listed_are_counted():
    (finding,) = ask("empty_answer", [chat("Q", "", line=i + 1) for i in range(25)])
    assert (finding.num_rows, len(finding.rows)) == (25, 10)
    assert finding.message.startswith("25 of 25 rows have")


def test_several_files_keep_their_lines():
    rows = [conversation(Message("user", "Q"), Message("assistant", ""), line=7)]
    other = Conversation(rows[0].messages, source=Source("other.jsonl", 3))
    (finding,) = ask("empty_answer", [*rows, other])
    assert list(map(str, finding.rows)) == ["rows.jsonl:7", "other.jsonl:3"]
