"""What rows have in common with evaluation rows, against sets of words made by hand."""

from __future__ import annotations

import json
import random

import pytest

from luthier.data.contamination import MOST_ROWS, ContaminatedRows, ContaminationIndex, Match
from luthier.types import Conversation, Document, LabelledAnswer, Message, PreferencePair, Source

LETTERS = list("abcdefghijklmnopqrstuvwxyz")


def chat(*texts: str, line: int = 1, system: str = "") -> Conversation:
    roles = ("user", "assistant") * len(texts)
    first = (Message("system", system),) if system else ()
    said = tuple(Message(role, text) for role, text in zip(roles, texts, strict=False))
    return Conversation((*first, *said), (), Source("eval.jsonl", line))


def index_of(*rows, **options) -> ContaminationIndex:
    index = ContaminationIndex(**options)
    for row in rows:
        index.add(row)
    return index


def words(*parts: str | range) -> str:
    return " ".join(" ".join(f"w{i}" for i in part) if isinstance(part, range) else part for part in parts)


def kinds(matches: list[Match]) -> list[tuple[str, str]]:
    return [(match.kind, match.part) for match in matches]


def test_equal_prompts_whatever_case_punctuation_answer_and_system_message():
    index = index_of(chat("What is  lost?", "A", line=7))
    (match,) = index.matches(chat("what is LOST", "another answer", system="Be brief."))
    assert (match.kind, match.part, match.source) == ("equal", "prompt", Source("eval.jsonl", 7))
    assert match.words == "the prompt equals eval.jsonl:7"
    assert index.matches(chat("What is found?", "A")) == []


def test_short_answers_and_short_later_questions_say_nothing():
    index = index_of(chat("q one", "yes", "And in French?", "oui"))
    assert index.matches(chat("q two", "yes", "And in French?", "oui")) == []
    assert kinds(index.matches(chat("other", "x", "Q one"))) == []  # short, and it stands in a context
    long = words(range(12))
    index = index_of(chat("first", long))
    assert index.matches(chat("second", long)) == []  # 12 words
    index = index_of(chat("first", words(range(13))))
    assert kinds(index.matches(chat("second", words(range(13))))) == [("equal", "answer")]


def test_a_run_of_thirteen_words_and_not_of_twelve():
    index = index_of(chat(words("alpha", range(40), "omega"), "A", line=3))
    inside = words("so", "x", range(10, 23), "y", *LETTERS)
    (match,) = index.matches(chat("hello there", inside))
    assert (match.kind, match.part, match.measure) == ("run", "answer", 13)
    assert match.quote == words(range(10, 23))
    assert match.words.startswith("the answer shares 13 words in a row with eval.jsonl:3: 'w10 w11")
    assert index.matches(chat("hello there", words("so", range(10, 22), *LETTERS))) == []
    (longer,) = index.matches(chat(words("x y z", range(2, 35), *LETTERS[:20]), "B"))
    assert (longer.kind, longer.measure, longer.quote) == ("run", 33, words(range(2, 22), "…"))


def test_short_evaluation_questions_are_found_inside_longer_ones():
    index = index_of(chat(words(range(9)), "A"))
    assert kinds(index.matches(chat(words("question", range(9), "answer briefly in one word please"), "B"))) == [
        ("run", "prompt")
    ]
    assert index_of(chat(words(range(7)), "A")).matches(chat(words("question", range(7), *LETTERS), "B")) == []


def test_nearly_equal_is_exactly_the_similarity_of_shingles():
    rng = random.Random(0)
    pool = [f"w{i}" for i in range(400)]
    texts = [[rng.choice(pool) for _ in range(rng.randint(6, 40))] for _ in range(60)]
    index = index_of(*(chat(" ".join(t), "A", line=i + 1) for i, t in enumerate(texts)), run_words=None)
    num_near = 0
    for line, text in enumerate(texts, 1):
        changed = list(text)
        for _ in range(rng.randint(1, 2)):
            changed[rng.choice([0, len(text) - 1, rng.randrange(len(text))])] = "new"
        own, other = ({tuple(t[i : i + 5]) for i in range(len(t) - 4)} for t in (changed, text))
        similarity = len(own & other) / len(own | other)
        found = index.matches(chat(" ".join(changed), "B"))
        if similarity >= 0.8:
            num_near += 1
            assert [(m.kind, m.source) for m in found] == [("near", Source("eval.jsonl", line))]
            assert found[0].measure == pytest.approx(similarity)
        else:
            assert found == []
    assert 5 < num_near < 55


def test_running_text_stands_beside_questions():
    index = index_of(Document("I am still waiting on my card?", Source("test.csv", 2)))
    assert kinds(index.matches(Document("I am still waiting on my card."))) == [("equal", "text")]
    assert kinds(index.matches(chat("I am still waiting on my card", "card_arrival"))) == [("equal", "prompt")]


def test_judged_answers():
    good, bad = words(range(20)), words(range(30, 60))
    prompt = (Message("user", "the very question"),)
    answer = [(Message("assistant", text),) for text in (good, bad)]
    index = index_of(chat("another", bad))
    assert kinds(index.matches(PreferencePair(prompt, answer[0], answer[1]))) == [("equal", "answer")]
    assert index.matches(LabelledAnswer(prompt, answer[0], True)) == []
    assert kinds(index_of(PreferencePair(prompt, *answer)).matches(LabelledAnswer(prompt, answer[0], True))) == [
        ("equal", "prompt"),
        ("equal", "answer"),
    ]


def test_what_many_rows_of_either_side_share_is_boilerplate():
    instruction = words("answer the following question", range(20))
    index = index_of(*(chat(f"{instruction} e{i} f{i} g{i} h{i}", "A", line=i + 1) for i in range(MOST_ROWS + 1)))
    assert index.matches(chat(words(instruction, *LETTERS), "B")) == []
    # Rare among evaluation rows, but in many rows to train on.
    for num_rows, expected in ((MOST_ROWS, MOST_ROWS), (MOST_ROWS + 1, 0)):
        rows = ContaminatedRows(index_of(chat(words(instruction, "x y z"), "A")))
        for number in range(num_rows):
            rows.see(number, chat(words(instruction, f"t{number}", *LETTERS), "B"))
        assert len(rows.found()) == expected


def test_a_row_with_boilerplate_and_more_is_found():
    instruction = words(range(20))
    rows = ContaminatedRows(index_of(chat(words(instruction, *LETTERS), "A", line=5)))
    for number in range(30):
        rows.see(number, chat(words(instruction, "and", f"t{number}", *(f"v{number}_{i}" for i in range(30))), "B"))
    rows.see(30, chat(words(instruction, *LETTERS[:20], *(f"u{i}" for i in range(30))), "B"))
    assert {number: match.source for number, match in rows.found().items()} == {30: Source("eval.jsonl", 5)}


def test_equal_prompts_count_however_many_there_are():
    rows = ContaminatedRows(index_of(chat("Say it.", "A")))
    for number in range(50):
        rows.see(number, chat("say it", f"{number}"))
    assert set(rows.found()) == set(range(50))


def test_rows_can_be_added_after_a_question():
    index = index_of(chat("one question", "A"))
    assert index.matches(chat("two questions", "A")) == []
    index.add(chat("two questions", "A", line=2))
    index.add(chat("Two questions!", "B", line=3))
    assert index.matches(chat("two questions", "A"))[0].source == Source("eval.jsonl", 2)
    assert len(index) == 2


def test_overlaps_of_a_real_data_set(shared_data):
    train, dev = (
        [json.loads(line)["question"] for line in (shared_data / f"derived/wikisql_{name}.jsonl").open()]
        for name in ("train10k", "dev1k")
    )
    index = index_of(*(Document(question, Source("dev", i)) for i, question in enumerate(dev, 1)))
    equal = {question for question in train if any(m.kind == "equal" for m in index.matches(Document(question)))}
    assert equal >= set(train) & set(dev)
    assert set(train) & set(dev)
