"""Money and sessions: what hours on a card cost where, and whether the run ends before the session does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from luthier.errors import InputError

SAVING_SHARE = 0.9
"""Share of a session that may pass before the last checkpoint should be safe: set-up and download come out of it too."""


@dataclass(frozen=True)
class Offer:
    """A card at a platform.

    Attributes:
        usd_per_hour: Of one card.
        counts: How many cards may be had together.
        session_hours: Longest session; 0: no limit.
        weekly_hours: Hours a week; 0: no limit.
        as_of: When the price was published.
    """

    platform: str
    gpu: str
    usd_per_hour: float
    counts: tuple[int, ...]
    session_hours: float
    weekly_hours: float
    as_of: date
    source: str


@dataclass(frozen=True)
class Cost:
    """A training at an offer.

    Attributes:
        usd: Whole cost.
        sessions: Sessions that it takes; 1 where it fits into one.
        weeks: Weeks that it takes under a weekly limit; 1 where it fits into one.
        checkpoint_every_steps: Where to save at least, so that a session's end costs little; 0 where one session is enough.
    """

    offer: Offer
    num_cards: int
    hours: float
    usd: float
    sessions: int
    weeks: int
    checkpoint_every_steps: int


@lru_cache(maxsize=1)
def load_offers() -> tuple[Offer, ...]:
    """The shipped price table."""
    return _read(files("luthier.plan").joinpath("prices.yaml").read_text(encoding="utf-8"), "prices.yaml")


def read_offers(path: Path) -> tuple[Offer, ...]:
    """A price file of one's own, of the same form.

    Raises:
        InputError: It is not there or not of that form; says where.
    """
    try:
        return _read(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"The price file {path} cannot be read: {error.strerror}.") from error


def merge_offers(shipped: Sequence[Offer], own: Sequence[Offer]) -> tuple[Offer, ...]:
    """One's own prices, and the shipped ones for what they leave out."""
    mine = {(o.platform, o.gpu) for o in own}
    return (*own, *(o for o in shipped if (o.platform, o.gpu) not in mine))


def cost_of(offer: Offer, seconds: float, num_cards: int, steps: int) -> Cost:
    """A training of `seconds` on `num_cards`."""
    hours = seconds / 3600
    usable = offer.session_hours * SAVING_SHARE
    sessions = max(1, math.ceil(hours / usable)) if usable else 1
    weeks = max(1, math.ceil(hours / offer.weekly_hours)) if offer.weekly_hours else 1
    every = 0
    if sessions > 1:
        every = max(1, int(steps / hours * usable / 8))  # eight saves a session: an eighth is lost at worst
    return Cost(offer, num_cards, hours, hours * num_cards * offer.usd_per_hour, sessions, weeks, every)


def _read(text: str, where: str) -> tuple[Offer, ...]:
    offers: list[Offer] = []
    try:
        rows: list[dict[str, Any]] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or []
        for row in rows:
            for gpu, entry in row["gpus"].items():
                offers.append(
                    Offer(
                        platform=str(row["platform"]),
                        gpu=str(gpu),
                        usd_per_hour=float(entry["usd"]),
                        counts=tuple(int(n) for n in entry.get("counts", [1])),
                        session_hours=float(row.get("session_hours", 0)),
                        weekly_hours=float(row.get("weekly_hours", 0)),
                        as_of=date.fromisoformat(str(row["as_of"])),
                        source=str(row["source"]),
                    )
                )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{where} is no price table ({type(error).__name__}: {error}). A row has platform, as_of (a date), source and gpus: "
            "{CARD: {usd: 0.5}}; session_hours and weekly_hours where there are limits."
        ) from error
    return tuple(offers)
