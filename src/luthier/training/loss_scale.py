"""Dynamic loss scaling for fp16: as large as gradients bear without overflow (Micikevicius et al. 2018, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

GROWTH_INTERVAL_STEPS = 200
LARGEST = 2.0**24


@dataclass
class LossScale:
    """Halved after an overflow (whose step is skipped), doubled after `GROWTH_INTERVAL_STEPS` good steps.

    Attributes:
        scale: Factor on the loss; 1 and fixed when `dynamic` is off (bf16, fp32).
        good_steps: Steps since the last change; saved in checkpoints with `scale`.
    """

    dynamic: bool
    scale: float = 1.0
    good_steps: int = 0

    @classmethod
    def for_compute(cls, compute: str) -> LossScale:
        """Dynamic from 2^16 for fp16, off otherwise."""
        return cls(dynamic=True, scale=2.0**16) if compute == "fp16" else cls(dynamic=False)

    def update(self, applied: bool) -> None:
        """Learn from one step."""
        if not self.dynamic:
            return
        if not applied:
            self.scale, self.good_steps = max(1.0, self.scale / 2), 0
            return
        self.good_steps += 1
        if self.good_steps >= GROWTH_INTERVAL_STEPS:
            self.scale, self.good_steps = min(LARGEST, self.scale * 2), 0
