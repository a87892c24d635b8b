"""The conditions that demo questions are made of: a column, an SQL condition, ways to say it, and the values it takes.

Every filter owns two disjoint sets of values: one for training, one for held-out questions. A number or a date that
occurs in a training question is never a value of a held-out one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from luthier.demo import database

Split = Literal["train", "heldout"]

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip


@dataclass(frozen=True)
class Value:
    """One value as it is said in a question and as it stands in SQL (without quotes)."""

    said: str
    sql: str


@dataclass(frozen=True)
class Filter:
    """A condition on one table.

    Attributes:
        name: Stable: part of the name of a combination.
        table: The table that holds the column.
        sql: Condition with ``{v}`` where the value stands.
        phrases: Ways to say it; each follows the noun of its table ("products …", "orders …").
        train, heldout: Disjoint values.
        is_comparison: Whether it compares (``>``, ``<``, ranges) or asks for equality.
    """

    name: str
    table: str
    sql: str
    phrases: tuple[str, ...]
    train: tuple[Value, ...]
    heldout: tuple[Value, ...]
    is_comparison: bool = True

    @property
    def column(self) -> str:
        """The column that it looks at."""
        return self.sql.split()[0]

    def values(self, split: Split) -> tuple[Value, ...]:
        """The values of one side."""
        return self.train if split == "train" else self.heldout


def _words(values: tuple[str, ...], num_heldout: int) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    made = tuple(Value(v, v) for v in values)
    return made[:-num_heldout], made[-num_heldout:]


def _every_fourth(values: Iterator[Value]) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """Three of four values are for training, the fourth is held out: both sides span the whole range."""
    made = tuple(values)
    return tuple(v for i, v in enumerate(made) if i % 4 != 2), tuple(v for i, v in enumerate(made) if i % 4 == 2)


def _numbers(first: int, last: int) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    return _every_fourth(Value(str(n), str(n)) for n in range(first, last + 1))


def _days(first_offset: int, last_offset: int) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    days = (database.FIRST_DAY + timedelta(days=offset) for offset in range(first_offset, last_offset, 7))
    return _every_fourth(Value(day.isoformat(), day.isoformat()) for day in days)


def _months() -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """Months of two years. Held out are months whose name is trained with the other year only."""
    made = [
        (Value(f"{name} {year}", f"{year}-{month:02d}"), (month + 2 * (year - 2023)) % 4 == 0)
        for year in (2023, 2024)
        for month, name in enumerate(MONTHS, start=1)
    ]
    return tuple(v for v, held in made if not held), tuple(v for v, held in made if held)


def _ranges() -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """Pairs of days, 40 to 150 days apart; ``{v}`` becomes "A and B" in words and ``'A' AND 'B'`` in SQL."""

    def pairs() -> Iterator[Value]:
        for i, offset in enumerate(range(10, 580, 11)):
            first: date = database.FIRST_DAY + timedelta(days=offset)
            last: date = first + timedelta(days=40 + (37 * i) % 110)
            yield Value(f"{first} and {last}", f"'{first}' AND '{last}'")

    return _every_fourth(pairs())


def _equal(name: str, table: str, phrases: tuple[str, ...], values: tuple[str, ...], num_heldout: int) -> Filter:
    return Filter(name, table, f"{name} = '{{v}}'", phrases, *_words(values, num_heldout), is_comparison=False)


FILTERS: dict[str, Filter] = {
    f.name: f
    for f in (
        _equal("category", "products", ("in the {v} category", "from the category {v}"), database.CATEGORIES, 4),
        _equal("brand", "products", ("made by {v}", "of the brand {v}"), database.BRANDS, 4),
        Filter("price over", "products", "price > {v}", ("that cost more than {v}", "with a price above {v}"),
               *_numbers(20, 150)),
        Filter("price under", "products", "price < {v}", ("that cost less than {v}", "cheaper than {v}"),
               *_numbers(40, 170)),
        Filter("stock over", "products", "stock > {v}", ("with more than {v} pieces in stock",), *_numbers(20, 110)),
        Filter("stock under", "products", "stock < {v}", ("with fewer than {v} pieces in stock",), *_numbers(30, 130)),
        _equal("city", "customers", ("from {v}", "who live in {v}"), database.CITIES, 4),
        _equal("segment", "customers", ("in the {v} segment", "of the segment {v}"), database.SEGMENTS, 2),
        Filter("signup after", "customers", "signup_date > '{v}'",
               ("who signed up after {v}", "with a sign-up date after {v}"), *_days(60, 560)),
        Filter("signup before", "customers", "signup_date < '{v}'",
               ("who signed up before {v}", "with a sign-up date before {v}"), *_days(170, 690)),
        _equal("status", "orders", ("with the status {v}", "whose status is {v}"), database.STATUSES, 2),
        _equal("channel", "orders", ("placed through the channel {v}", "that came in by {v}"), database.CHANNELS, 2),
        Filter("order after", "orders", "order_date > '{v}'", ("placed after {v}", "dated after {v}"), *_days(60, 640)),
        Filter("order before", "orders", "order_date < '{v}'", ("placed before {v}", "dated before {v}"),
               *_days(100, 690)),
        Filter("order month", "orders", "order_date LIKE '{v}%'", ("placed in {v}", "from {v}"), *_months()),
        Filter("order between", "orders", "order_date BETWEEN {v}", ("placed between {v}", "dated between {v}"),
               *_ranges()),
    )
}  # fmt: skip


def of_table(table: str) -> tuple[Filter, ...]:
    """All filters on `table`, in a fixed order."""
    return tuple(f for f in FILTERS.values() if f.table == table)
