"""When a training validates: at equal distances and at its end, but not twice within a few steps."""

import pytest

from luthier.training.loop import Rhythm


@pytest.mark.parametrize(
    ("total_steps", "evaluate_every", "steps"),
    [
        (61, 12, [12, 24, 36, 48, 61]),  # 60 lies one step before the end
        (60, 12, [12, 24, 36, 48, 60]),
        (66, 12, [12, 24, 36, 48, 60, 66]),  # half an interval is far enough
        (65, 12, [12, 24, 36, 48, 65]),
        (5, 1, [1, 2, 3, 4, 5]),
        (3, 100, [3]),
        (17, 3, [3, 6, 9, 12, 15, 17]),
        (1, 1, [1]),
    ],
)
def test_validations(total_steps: int, evaluate_every: int, steps: list[int]) -> None:
    rhythm = Rhythm(total_steps, evaluate_every, checkpoint_every=1, learning_rate=lambda _: 1.0)
    assert [step for step in range(1, total_steps + 1) if rhythm.validates_after(step)] == steps
