"""What the curves of a training say, in words: pure functions over the records of metrics.jsonl.

Each rule looks at smoothed values, asks for enough points, and says nothing where noise could explain what it sees: a wrong alarm
teaches people to ignore the right ones. Nothing here stops a training; `Diagnosis` is advice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Kind = Literal[
    "overfitting",
    "plateau",
    "spikes",
    "learning_rate_too_high",
    "learning_rate_too_low",
    "clipping",
    "trivial_pairs",
    "flat_margin",
    "chosen_collapse",
]
Floats = NDArray[np.float64]

FEWEST_STEPS = 24
"""Below this a curve is too short to tell a trend from noise; above, a block of it holds at least two steps."""

NUM_BLOCKS = 12
"""Stretches of equal length whose medians stand for the curve: few enough to smooth, enough to say where something began."""

SURE = 4.0
"""Standard errors that a change must exceed. 2 would err in one of twenty looks, and a training is looked at often."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Something that a curve shows.

    Attributes:
        since_step: Where it began.
        message: What is seen, with its figures.
        advice: What to try.
    """

    kind: Kind
    since_step: int
    message: str
    advice: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in diagnosis.json."""
        return asdict(self)


class Curve(NamedTuple):
    """The training steps that have a finite loss."""

    steps: Floats
    losses: Floats
    rates: Floats
    norms: Floats


class Block(NamedTuple):
    """Median loss of a stretch of steps, how unsure it is, and its median gradient norm."""

    first_step: int
    loss: float
    error: float
    norm: float


def diagnose(records: Sequence[Mapping[str, Any]], *, total_steps: int, max_grad_norm: float = 0.0) -> list[Diagnosis]:
    """Everything that the records show, the gravest first; empty for a healthy or a short training.

    Args:
        records: Lines of metrics.jsonl, in order; of a training that is still going on, too.
        total_steps: Steps of the whole training: some things can only be said at its end.
        max_grad_norm: Limit of the gradient norm; 0: none.
    """
    train = [r for r in records if r["kind"] == "train"]
    validation = [(int(r["step"]), float(r["loss"])) for r in records if r["kind"] == "validation"]
    validation = [(step, loss) for step, loss in validation if math.isfinite(loss)]
    curve = _curve(train)
    too_high = _skips(train) or _diverges(curve) or _explodes(curve)
    clipped = _is_clipped(train, max_grad_norm)
    if too_high:  # explains whatever else is odd, but clipping may be its cause
        return [too_high, *([clipped] if clipped else [])]
    is_over = bool(train) and train[-1]["step"] >= total_steps
    too_low = _is_slow(curve, validation) if is_over else None
    found = [
        _overfits(curve, validation),
        too_low,
        _spikes(curve),
        clipped,
        None if too_low else _is_flat(curve, validation, is_over=is_over),
    ]
    return [diagnosis for diagnosis in found if diagnosis is not None]


def _curve(train: Sequence[Mapping[str, Any]]) -> Curve:
    kept = [r for r in train if math.isfinite(r["loss"]) and not r.get("skipped")]
    columns = ("step", "loss", "learning_rate", "grad_norm")
    return Curve(*(np.array([r[name] for r in kept], dtype=np.float64) for name in columns))


def _blocks(curve: Curve) -> list[Block]:
    """`NUM_BLOCKS` stretches; none for a short curve."""
    if len(curve.steps) < FEWEST_STEPS:
        return []
    # From differences of neighbours, so that a trend does not count as noise.
    changes = np.abs(np.diff(curve.losses, prepend=curve.losses[0])) / math.sqrt(2)
    blocks = []
    for part in np.array_split(np.arange(len(curve.steps)), NUM_BLOCKS):
        around = changes[max(1, part[0] - 4) : part[-1] + 5]
        # The median of n values has 1.25 times the standard error of their mean.
        error = 1.25 * 1.4826 * float(np.median(around)) / math.sqrt(len(part))
        loss, norm = float(np.median(curve.losses[part])), float(np.median(curve.norms[part]))
        blocks.append(Block(int(curve.steps[part[0]]), loss, error, norm))
    return blocks


# -- the learning rate is too high -------------------------------------------------------------------------------------

SETTLING_STEPS = 20
"""fp16's loss scale halves until it fits, 16 times at most from 2^16; what is left out then is no fault."""

MOST_SKIPPED_SHARE = 0.05
"""A loss scale that is tried anew every 2000 steps leaves out far less."""


def _skips(train: Sequence[Mapping[str, Any]]) -> Diagnosis | None:
    settled = [r for r in train if r["step"] > SETTLING_STEPS]
    skipped = [r["step"] for r in settled if r.get("skipped")]
    if len(skipped) < 3 or len(skipped) < MOST_SKIPPED_SHARE * len(settled):
        return None
    return Diagnosis(
        "learning_rate_too_high",
        skipped[0],
        f"{len(skipped)} of {len(settled)} steps since step {skipped[0]} were left out, because their gradient was not finite.",
        "Lower train.learning_rate to a third, or compute in precision.compute=bf16 or fp32, which do not overflow.",
    )


RISE_SHARE = 0.3
"""Of what had been learnt: a loss that has given back a third of it is not merely between two batches."""


def _diverges(curve: Curve) -> Diagnosis | None:
    """The last two stretches lie well above the best one."""
    blocks = _blocks(curve)
    if not blocks:
        return None
    best = min(range(len(blocks)), key=lambda i: blocks[i].loss)
    last = blocks[max(best + 1, len(blocks) - 2) :]
    if len(last) < 2:
        return None
    low = blocks[best]
    learnt = blocks[0].loss - low.loss
    # Where nothing was learnt at all, a tenth of the loss stands for it.
    least = max(RISE_SHARE * learnt, 0.1 * low.loss)
    if any(block.loss - low.loss < max(least, SURE * math.hypot(block.error, low.error)) for block in last):
        return None
    since = next(b for b in blocks[best + 1 :] if b.loss - low.loss >= least / 2)
    return Diagnosis(
        "learning_rate_too_high",
        since.first_step,
        f"The training loss rises: from {low.loss:.3g} around step {low.first_step} to {last[-1].loss:.3g}.",
        "Lower train.learning_rate to a third, or raise train.warmup_fraction if it began within the warm-up.",
    )


EXPLODED = 10.0
"""Times the norm of before. Norms grow two- to fivefold in healthy runs, while LoRA's B leaves zero."""


def _explodes(curve: Curve) -> Diagnosis | None:
    """The gradient norm has grown tenfold, and the loss no longer falls."""
    blocks = _blocks(curve)
    if not blocks:
        return None
    least = max(min(block.norm for block in blocks[:-2]), 1e-6)
    last = blocks[-2:]
    if any(block.norm < EXPLODED * least for block in last):
        return None
    before = max(i for i, block in enumerate(blocks) if block.norm < EXPLODED / 2 * least)
    if any(_surely_falls(blocks[before], block) for block in last):
        return None
    return Diagnosis(
        "learning_rate_too_high",
        blocks[before + 1].first_step,
        f"The gradient norm has grown from {least:.3g} to {last[-1].norm:.3g}, and the training loss does not fall.",
        "Lower train.learning_rate to a third; if that does not help, look for odd rows in the data.",
    )


def _surely_falls(before: Block, after: Block) -> bool:
    return before.loss - after.loss > 2 * math.hypot(before.error, after.error)


# -- what is learnt does not carry over --------------------------------------------------------------------------------

RISE_OF_VALIDATION = 0.03
"""Relative. The validation rows are the same each time, so what is left as noise is how the weights waver: about a hundredth."""


def _overfits(curve: Curve, validation: Sequence[tuple[int, float]]) -> Diagnosis | None:
    """The validation loss has risen in two validations or more after its best, while the training loss fell."""
    if len(validation) < 4:
        return None
    best = min(range(len(validation)), key=lambda i: validation[i][1])
    (best_step, low), later = validation[best], validation[best + 1 :]
    if len(later) < 2 or any(loss <= low * (1 + RISE_OF_VALIDATION / 3) for _, loss in later):
        return None
    last_step, last = later[-1]
    if last <= low * (1 + RISE_OF_VALIDATION):
        return None
    until = (curve.steps <= best_step) & (curve.steps > 2 * best_step - last_step)
    since = (curve.steps > best_step) & (curve.steps <= last_step)
    if since.sum() < 4:
        return None
    # Right from the start: held against the untrained model's loss.
    before = float(np.mean(curve.losses[until])) if until.any() else validation[0][1]
    late = curve.losses[since][since.sum() // 2 :]
    after = float(np.mean(late))
    if after >= before:
        return None
    return Diagnosis(
        "overfitting",
        best_step,
        f"The validation loss has risen from {low:.3g} (step {best_step}) to {last:.3g} (step {last_step}), while the training "
        f"loss fell from {before:.3g} to {after:.3g}: the model learns its rows by heart.",
        "Fewer train.epochs, train.early_stopping_patience=2, a lower train.learning_rate or adapter.rank, or more rows.",
    )


# -- single steps ------------------------------------------------------------------------------------------------------

WINDOW = 16
"""Steps before and after, that a step is held against."""

SPIKE_SIGMAS = 10.0
"""Losses of small batches have long tails: six robust deviations are reached by chance in a long training."""


def _spikes(curve: Curve) -> Diagnosis | None:
    """Steps far above the ones around them, from which the loss came back."""
    losses = curve.losses
    if len(losses) < 2 * WINDOW + 1:
        return None
    around = np.lib.stride_tricks.sliding_window_view(losses, 2 * WINDOW + 1)
    level = np.median(around, axis=1)
    # The nine tenths of a window, not its half: long tails are wider there than a normal distribution's 1.645 deviations.
    deviation = np.quantile(np.abs(around - level[:, None]), 0.9, axis=1) / 1.645
    after = np.median(around[:, WINDOW + 1 : WINDOW + 7], axis=1)
    first = float(np.median(losses[:4]))
    jump = around[:, WINDOW] - level
    # A spike matters where it is large beside the level and beside all that was learnt.
    least = np.maximum.reduce([SPIKE_SIGMAS * deviation, 0.5 * level, 0.15 * (first - level)])
    found = (np.flatnonzero((jump > least) & (after - level < least / 2)) + WINDOW).tolist()
    if not found:
        return None
    highest = max(found, key=lambda i: losses[i])
    count = "one step" if len(found) == 1 else f"{len(found)} steps"
    return Diagnosis(
        "spikes",
        int(curve.steps[found[0]]),
        f"The training loss jumps in {count}, up to {losses[highest]:.3g} (step {int(curve.steps[highest])}), and comes back.",
        "Look at the rows of these steps (odd text, a wrong mask). If they are sound, lower train.learning_rate or "
        "train.max_grad_norm.",
    )


MOSTLY = 0.75


def _is_clipped(train: Sequence[Mapping[str, Any]], max_grad_norm: float) -> Diagnosis | None:
    """Most steps after the warm-up were scaled down."""
    if not max_grad_norm or len(train) < FEWEST_STEPS:
        return None
    peak = max(r["learning_rate"] for r in train)
    warm = next(i for i, r in enumerate(train) if r["learning_rate"] >= peak)
    later = [r for r in train[warm:] if math.isfinite(r["grad_norm"]) and not r.get("skipped")]
    clipped = [r for r in later if r["grad_norm"] > max_grad_norm]
    if len(later) < FEWEST_STEPS or len(clipped) < MOSTLY * len(later):
        return None
    norm = float(np.median([r["grad_norm"] for r in later]))
    return Diagnosis(
        "clipping",
        clipped[0]["step"],
        f"The gradient was clipped in {len(clipped)} of {len(later)} steps after the warm-up: its norm is {norm:.3g} in the "
        f"median, the limit {max_grad_norm:g}.",
        f"Clipping is meant for the odd step; now it decides how much each batch counts. Raise train.max_grad_norm above "
        f"{norm:.2g}, or lower train.learning_rate if the norm grows.",
    )


# -- too little happens ------------------------------------------------------------------------------------------------

FLAT_SHARE = 0.02
"""A fall of less than a fiftieth of the loss over a third of the training is not worth its time."""


def _is_flat(curve: Curve, validation: Sequence[tuple[int, float]], *, is_over: bool) -> Diagnosis | None:
    """From some stretch on, at a learning rate worth the name, the loss has surely fallen by less than `FLAT_SHARE`.

    Single batches are noisy. Where validations are at hand, they decide, and the training loss must only not contradict. While
    the training goes on, a fall that is small but sure may still become worth its time.
    """
    blocks = _blocks(curve)
    if not blocks or not curve.rates.max():
        return None
    for start in range(1, NUM_BLOCKS * 2 // 3):
        since = blocks[start].first_step
        # A schedule that ends at zero flattens every curve: what is made at a small rate shows nothing.
        stretch = (curve.steps >= since) & (curve.rates >= 0.2 * curve.rates.max())
        if stretch.sum() < max(FEWEST_STEPS, len(curve.steps) // 3):
            return None
        level = float(np.median(curve.losses[stretch]))
        fall, error = _fall(curve.steps[stretch], curve.losses[stretch])
        if not is_over and fall > SURE * error:
            continue
        held_out = [loss for step, loss in validation if step >= since]
        if len(held_out) >= 3 and validation[-1][0] - validation[-len(held_out)][0] >= len(curve.steps) // 3:
            is_flat = min(held_out[1:]) > held_out[0] * (1 - FLAT_SHARE / 2) and fall < max(
                2 * error, FLAT_SHARE * level
            )
        else:
            is_flat = abs(fall) + 2 * error < FLAT_SHARE * level
        if is_flat:
            return Diagnosis(
                "plateau",
                since,
                f"The training loss has stayed at {level:.4g} since step {since}.",
                "More steps like these bring nothing. If the answers are not good enough yet: a higher train.learning_rate or "
                "adapter.rank, or other data; if they are, fewer train.epochs.",
            )
    return None


SMALL_FALL = 0.1
"""Of the loss. A rate that fits takes more than this off within the first steps, where form and length of answers are learnt."""

STEADY = 0.7
"""Fall in the second half of the way by that in the first; 1 for a straight line."""


def _is_slow(curve: Curve, validation: Sequence[tuple[int, float]]) -> Diagnosis | None:
    """Over the whole training the loss fell little, and as steadily at the end as at the beginning.

    While the weights barely move, the loss is a straight line over the sum of learning rates: each step has the same effect per
    unit of rate. A curve that bends has learnt something.
    """
    if len(curve.steps) < FEWEST_STEPS:
        return None
    way = np.cumsum(curve.rates)
    if len(validation) >= 5:
        what, level = "validation", validation[0][1]
        steps, losses = (np.array(column, dtype=np.float64) for column in zip(*validation, strict=True))
        way_there = np.interp(steps, np.concatenate([[0.0], curve.steps]), np.concatenate([[0.0], way]))
        middle = float(np.interp(way[-1] / 2, way_there, losses))
        first, second = level - middle, middle - float(losses[-1])
        is_steady = bool((np.diff(losses) < 0.001 * level).all()) and second >= STEADY * first
        total = first + second
    else:
        what, level = "training", float(np.median(curve.losses[:8]))
        early, late = way <= way[-1] / 2, way > way[-1] / 2
        if min(early.sum(), late.sum()) < FEWEST_STEPS // 3:
            return None
        total, error = _fall(way, curve.losses)
        (first, first_error), (second, second_error) = (_fall(way[part], curve.losses[part]) for part in (early, late))
        allowance = math.hypot(first_error, second_error) / 2
        is_steady = total > SURE * error and second > 2 * second_error and second >= STEADY * first - allowance
    if not is_steady or total > SMALL_FALL * level:
        return None
    return Diagnosis(
        "learning_rate_too_low",
        int(curve.steps[0]),
        f"The {what} loss fell by {100 * total / level:.1f} % in {int(curve.steps[-1])} steps, and was still falling as steadily "
        "at the end as at the beginning.",
        "Raise train.learning_rate three- to tenfold, or train for longer.",
    )


def _fall(x: Floats, y: Floats) -> tuple[float, float]:
    """How far a straight line through the points falls from the first to the last x, and the standard error of that."""
    width = float(x[-1] - x[0])
    centred = x - x.mean()
    spread = float((centred**2).sum())
    if len(x) < 4 or spread == 0:
        return 0.0, math.inf
    slope = float((centred * y).sum()) / spread
    rest = y - y.mean() - slope * centred
    error = math.sqrt(float((rest**2).sum()) / (len(x) - 2) / spread)
    return -slope * width, error * width
