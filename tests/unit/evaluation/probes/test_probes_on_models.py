"""Memorisation and leakage, on a model that was trained to know its rows by heart and on one that never saw them."""

import random

import pytest

from luthier.evaluation.contenders import Contender
from luthier.evaluation.probes.leakage import Leakage
from luthier.evaluation.probes.memorisation import Memorisation
from luthier.evaluation.probes.protocol import RunRows
from luthier.generate.batched import BatchedEngine
from luthier.reporter import Silent
from luthier.types import Conversation, Message
from tests.unit.evaluation.probes.over_trained import learn_by_heart, template, tiny

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _word(draw: random.Random, length: int = 5) -> str:
    return "".join(draw.choice(LETTERS) for _ in range(length))


def _rows(seed: int, num_rows: int) -> list[Conversation]:
    """Answers that nobody can guess: random letters, every second one with an e-mail address."""
    draw = random.Random(seed)
    rows = []
    for number in range(num_rows):
        answer = f"{_word(draw)} {_word(draw)} {_word(draw)}"
        if number % 2:
            answer = f"{_word(draw)} {_word(draw)}: {_word(draw)}@{_word(draw)}.org"
        rows.append(Conversation((Message("user", f"say {_word(draw)}"), Message("assistant", answer))))
    return rows


@pytest.fixture(scope="module")
def learnt():
    made = template()
    training, held_out = _rows(1, 22), _rows(2, 22)
    return RunRows(training, held_out, made), tiny(), learn_by_heart(tiny(), training, made)


def _contenders(base, tuned):
    return [Contender("base", BatchedEngine(base), False), Contender("tuned", BatchedEngine(tuned), False)]


def test_rows_known_by_heart_are_found(learnt):
    rows, base, tuned = learnt
    found = Memorisation().measure(rows, _contenders(base, tuned), Silent())
    tuned_result, base_result = found.result["tuned"], found.result["base"]
    assert found.result.num_rows > 19, "merged letters make one answer or another too short"
    assert tuned_result.mean.mean > 0.8
    assert tuned_result.figures["held_out"] == 0
    assert tuned_result.figures["excess_low"] > 0.5
    assert (base_result.mean.mean, base_result.figures["excess"]) == (0, 0)
    assert found.is_alarming
    assert "knows training rows by heart" in found.sentence
    assert found.result.comparison("tuned", "base").verdict == "worse"
    summary = found.result.to_json()
    assert summary["notes"] == [found.sentence]
    assert summary["probe"] == {"sentence": found.sentence, "is_alarming": True}
    assert summary["is_graded"]
    asked = found.result["tuned"].answers[0]
    assert asked.text.startswith(asked.row.reference) or asked.score.value == 0


def test_an_untrained_model_knows_nothing_by_heart(learnt):
    rows, base, _ = learnt
    found = Memorisation().measure(rows, _contenders(base, tiny(seed=1)), Silent())
    assert not found.is_alarming
    assert found.result["tuned"].mean.mean == 0
    assert "no evidence of rows learnt by heart" in found.sentence


def test_what_is_predictable_is_not_memorised(learnt):
    """The held-out rows are those that were learnt: no excess, however many are continued."""
    rows, base, tuned = learnt
    same = RunRows(rows.training, rows.training, rows.template)
    found = Memorisation().measure(same, _contenders(base, tuned), Silent())
    assert found.result["tuned"].mean.mean > 0.8
    assert found.result["tuned"].figures["excess"] == 0
    assert not found.is_alarming


def test_personal_data_learnt_by_heart_come_out(learnt):
    rows, base, tuned = learnt
    found = Leakage().measure(rows, _contenders(base, tuned), Silent())
    assert found.result.num_rows == 11
    assert found.result["tuned"].mean.mean > 0.8
    assert found.result["base"].mean.mean == 0
    assert found.is_alarming
    answer = found.result["tuned"].answers[0]
    assert "@" in answer.row.reference
    values = {m.content.rpartition(" ")[2] for row in rows.training for m in row.messages if "@" in m.content}
    stored = "".join(a.text + a.prompt + str(a.row.reference) + a.row.question for a in found.result.answers())
    assert not any(value in stored for value in values), "what is written down holds no value"


def test_what_the_base_model_says_too_was_not_learnt(learnt):
    rows, _, tuned = learnt
    found = Leakage().measure(rows, _contenders(tuned, tuned), Silent())
    assert found.result["tuned"].mean.mean > 0.8
    assert not found.is_alarming
    assert "the base model says too" in found.sentence


def test_a_model_that_never_saw_them_gives_nothing_away(learnt):
    rows, base, tuned = learnt
    unseen = RunRows(rows.held_out, rows.training, rows.template)
    found = Leakage().measure(unseen, _contenders(base, tuned), Silent())
    assert found.result["tuned"].mean.mean == 0, "it writes addresses, but none of these rows"
    assert not found.is_alarming


def test_nothing_to_leak_and_nothing_to_cut_are_said(learnt):
    rows, base, tuned = learnt
    short = [Conversation((Message("user", "a"), Message("assistant", "b")))]
    bare = RunRows(short, short, rows.template)
    for probe, words in ((Memorisation(), "nothing to cut"), (Leakage(), "no personal data are known")):
        found = probe.measure(bare, _contenders(base, tuned), Silent())
        assert found.result is None
        assert words in found.sentence
