"""When patience is exhausted."""

from math import nan

import pytest

from luthier.training.early_stopping import improves, is_exhausted, num_without_improvement


@pytest.mark.parametrize(
    ("losses", "since"),
    [
        ([], 0),
        ([2.0], 0),
        ([2.0, 1.0], 0),
        ([2.0, 1.0, 1.5, 1.2], 2),
        ([2.0, 1.0, 1.0], 1),  # equal is no improvement
        ([1.0, 2.0, 0.5, 0.6], 1),
        ([nan, nan], 2),
        ([nan, 3.0, nan], 1),
        ([0.0, 0.1], 1),
    ],
)
def test_validations_since_the_best(losses: list[float], since: int) -> None:
    assert num_without_improvement(losses) == since
    assert is_exhausted(losses, since + 1) is False
    assert since == 0 or is_exhausted(losses, since)
    assert not is_exhausted(losses, None)


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    assert not improves(nan, None)
    assert not improves(nan, 1.0)
    assert improves(0.5, None)
    assert not improves(0.1, 0.0)
