from luthier.training.loss_scale import GROWTH_INTERVAL_STEPS, LARGEST, LossScale


def test_halves_on_overflow_and_doubles_after_many_good_steps() -> None:
    scale = LossScale.for_compute("fp16")
    assert scale.scale == 2.0**16
    scale.update(applied=False)
    assert scale.scale == 2.0**15
    for _ in range(GROWTH_INTERVAL_STEPS - 1):
        scale.update(applied=True)
    assert scale.scale == 2.0**15
    scale.update(applied=True)
    assert scale.scale == 2.0**16


def test_an_overflow_starts_the_count_again() -> None:
    scale = LossScale(dynamic=True, scale=8.0, good_steps=GROWTH_INTERVAL_STEPS - 1)
    scale.update(applied=False)
    scale.update(applied=True)
    assert (scale.scale, scale.good_steps) == (4.0, 1)


def test_stays_between_one_and_the_largest() -> None:
    low, high = LossScale(True, 1.0), LossScale(True, LARGEST, GROWTH_INTERVAL_STEPS - 1)
    low.update(applied=False)
    high.update(applied=True)
    assert (low.scale, high.scale) == (1.0, LARGEST)


def test_other_formats_are_not_scaled() -> None:
    for compute in ("bf16", "fp32"):
        scale = LossScale.for_compute(compute)
        scale.update(applied=False)
        assert scale.scale == 1.0
