"""What fits where: one card, copies on several (DDP), or weights spread over them (FSDP)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from luthier.plan.engine import EngineProfile
from luthier.plan.job import Job
from luthier.plan.memory import MemoryPlan, plan_memory
from luthier.units import GIB

Strategy = Literal["one card", "DDP", "FSDP"]
Verdict = Literal["fits", "tight", "no"]

USABLE_SHARE = 0.95
"""What is left of a card's nominal memory beside its driver."""

ENGINE_STRATEGIES: tuple[Strategy, ...] = ("one card", "DDP")
"""What Luthier's trainer can do today; what else is planned is marked as such."""


@dataclass(frozen=True)
class Budget:
    """Cards of one size."""

    memory_gib: int
    num_cards: int = 1

    @property
    def words(self) -> str:
        """``24 GB``, ``2 × 80 GB``."""
        return f"{self.memory_gib} GB" if self.num_cards == 1 else f"{self.num_cards} × {self.memory_gib} GB"

    @property
    def usable_bytes(self) -> float:
        """Of one card."""
        return self.memory_gib * USABLE_SHARE * GIB


BUDGETS = tuple(Budget(*b) for b in ((8, 1), (16, 1), (24, 1), (40, 1), (48, 1), (80, 1), (80, 2), (80, 8)))


@dataclass(frozen=True)
class Fit:
    """A job on a budget.

    Attributes:
        verdict: fits: the upper end of the error band does; tight: the plan does, the upper end does not; no.
        needed_bytes: Planned peak of one card.
        available: Whether Luthier's trainer has the strategy today.
    """

    budget: Budget
    strategy: Strategy
    verdict: Verdict
    needed_bytes: float
    available: bool


def verdict(plan: MemoryPlan, usable_bytes: float) -> Verdict:
    """Whether a plan fits."""
    if plan.high_bytes <= usable_bytes:
        return "fits"
    return "tight" if plan.total_bytes <= usable_bytes else "no"


def fit(job: Job, engine: EngineProfile, budget: Budget) -> Fit:
    """One card where there is one; of several, copies where a copy fits, else shards."""
    single = plan_memory(replace(job, num_shards=1), engine)
    strategy: Strategy = "one card" if budget.num_cards == 1 else "DDP"
    plan, found = single, verdict(single, budget.usable_bytes)
    if budget.num_cards > 1 and found != "fits":
        sharded = plan_memory(replace(job, num_shards=budget.num_cards), engine)
        if sharded.total_bytes < single.total_bytes:
            strategy, plan, found = "FSDP", sharded, verdict(sharded, budget.usable_bytes)
    return Fit(budget, strategy, found, plan.total_bytes, strategy in ENGINE_STRATEGIES)


def fit_all(job: Job, engine: EngineProfile) -> tuple[Fit, ...]:
    """On every usual budget."""
    return tuple(fit(job, engine, budget) for budget in BUDGETS)
