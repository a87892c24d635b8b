import math

import pytest

from luthier.training.schedule import learning_rate, warmup_steps


def rates(schedule: str, total: int = 20, warmup: int = 4) -> list[float]:
    return [
        learning_rate(s, peak=1e-3, total_steps=total, warmup_steps=warmup, schedule=schedule) for s in range(total)
    ]


def test_warm_up_rises_in_equal_parts_and_never_wastes_a_step() -> None:
    assert rates("constant")[:5] == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_peak_follows_the_warm_up(schedule: str) -> None:
    assert max(rates(schedule)) == rates(schedule)[4] == pytest.approx(1e-3)


def test_half_way_down() -> None:
    assert rates("cosine")[12] == pytest.approx(5e-4)
    assert rates("linear")[12] == pytest.approx(5e-4)
    assert rates("cosine")[8] == pytest.approx(1e-3 * (1 + math.cos(math.pi / 4)) / 2)
    assert set(rates("constant")[4:]) == {1e-3}


def test_no_warm_up_starts_at_the_peak() -> None:
    assert rates("cosine", warmup=0)[0] == 1e-3


@pytest.mark.parametrize(("fraction", "total", "steps"), [(0.05, 100, 5), (0.05, 30, 2), (0.0, 30, 0), (0.05, 1, 1)])
def test_warm_up_is_whole_steps(fraction: float, total: int, steps: int) -> None:
    assert warmup_steps(fraction, total) == steps
