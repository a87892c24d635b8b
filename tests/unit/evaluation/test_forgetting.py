"""Non-inferiority: what the intervals allow to say, how often it is wrong, and what becomes of it as a check."""

import numpy as np
import pytest

from luthier.evaluation.forgetting import forgetting_check, judge_scores

TOLERANCE = 0.1


def _answer(before, after, **options):
    return judge_scores("t", "m", before, after, TOLERANCE, **options)


def test_the_three_answers():
    right = [1.0] * 100 + [0.0] * 100
    kept = _answer(right, right)
    assert (kept.answer, kept.rows_needed) == ("kept", None)
    gone = _answer(right, [0.0] * 60 + right[60:])
    assert gone.change.mean == pytest.approx(-0.3)
    assert gone.answer == "forgotten"
    unsure = _answer(right[90:130], [*right[90:97], 0.0, 0.0, 0.0, *right[100:130]])
    assert unsure.change.mean == pytest.approx(-0.075)
    assert unsure.answer == "too few rows to tell"
    assert unsure.rows_needed > 40
    assert "too few rows to tell whether the loss is more than 10 points; about" in unsure.sentence()
    assert _answer([1.0] * 19, [0.0] * 19).answer == "too few rows to tell"


def test_bits_per_byte_grow_relative_to_the_base_model():
    before, bytes_ = [1.0, 2.0] * 12, [100.0, 300.0] * 12
    after = [1.3, 2.2] * 12
    result = _answer(before, after, weights=bytes_, lower_is_better=True, is_share=False)
    growth = (100 * 0.3 + 300 * 0.2) / (100 * 1.0 + 300 * 2.0)
    assert result.change.mean == pytest.approx(-growth)
    assert result.change.low < -growth < result.change.high
    assert result.answer == "forgotten"
    better = _answer(after, before, weights=bytes_, lower_is_better=True, is_share=False)
    assert better.change.mean > 0
    assert better.answer == "kept"


@pytest.mark.parametrize(
    ("loss", "kept", "forgotten"),
    [
        (TOLERANCE, (0.0, 0.05), (0.0, 0.05)),  # at the tolerance both claims would be wrong: 2.5 % each
        (0.0, (0.9, 1.0), (0.0, 0.001)),
        (0.25, (0.0, 0.001), (0.9, 1.0)),
    ],
)
def test_claims_are_rarely_wrong_and_mostly_made(loss, kept, forgotten):
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(400):
        before = rng.random(200) < 0.6
        lost = before & (rng.random(200) < (loss + 0.03) / 0.6)
        won = ~before & (rng.random(200) < 0.03 / 0.4)
        after = (before & ~lost) | won
        answers.append(_answer(before.astype(float).tolist(), after.astype(float).tolist()).answer)
    for answer, (low, high) in (("kept", kept), ("forgotten", forgotten)):
        assert low <= answers.count(answer) / len(answers) <= high, answer


def test_the_check_fails_only_by_what_is_shown():
    right = [1.0] * 200
    kept, forgotten = _answer(right, right), _answer(right, [0.0] * 60 + [1.0] * 140)
    few = _answer([1.0] * 30, [0.0] * 3 + [1.0] * 27)
    assert forgetting_check([kept]).passed
    unsure = forgetting_check([kept, few._replace(task="small")])
    assert (unsure.passed, unsure.measured) == (True, "too few rows to tell: small")
    failed = forgetting_check([kept, few, forgotten._replace(task="gone")])
    assert not failed.passed
    assert failed.measured == "forgotten: gone; too few rows to tell: t"
    assert "general rows" in failed.advice
    assert "10 points" in failed.claim
