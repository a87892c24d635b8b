from __future__ import annotations

import pytest

from luthier.evaluation.compare import Comparison, compare
from luthier.evaluation.correction import correct, correction_sentence


def _won(num_won: int, num_lost: int, rows: int = 40) -> Comparison:
    first = [1.0] * num_won + [0.0] * (rows - num_won)
    second = [0.0] * num_won + [1.0] * num_lost + [0.0] * (rows - num_won - num_lost)
    return compare(first, second, names=("tuned", "base"))


def test_a_weak_verdict_among_many_is_lost_and_a_strong_one_is_not() -> None:
    comparisons = [("strong", _won(20, 0)), ("weak", _won(8, 1)), *((f"none{i}", _won(3, 3)) for i in range(6))]
    corrected = correct(comparisons)
    weak = corrected[1]
    assert weak.comparison.verdict == "better"
    # Seven tests are left when the strongest is taken out.
    assert weak.holm == pytest.approx(7 * weak.comparison.p_value)
    assert [c.is_lost for c in corrected] == [False, True] + [False] * 6
    words = correction_sentence(corrected)
    assert words.startswith(
        "After correction for 8 comparisons (Holm) there is no evidence left for: weak (tuned − base)."
    )
    assert set(weak.to_json()) == {"task", "first", "second", "p_value", "holm", "benjamini_hochberg"}


def test_what_is_said_where_all_hold_or_there_is_nothing_to_correct() -> None:
    assert correction_sentence(correct([("a", _won(20, 0)), ("b", _won(18, 0))])) == (
        "All verdicts hold after correction for 2 comparisons (Holm)."
    )
    assert correction_sentence(correct([("a", _won(20, 0))])) == ""
    assert correction_sentence(correct([("a", _won(3, 3)), ("b", _won(2, 2))])) == ""
    assert correct([]) == []
