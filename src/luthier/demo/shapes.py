"""What demo questions ask for: SQL skeletons with several ways to say each, and the conditions that each may carry.

In a phrase, ``{products}``, ``{customers}`` and ``{orders}`` stand where the conditions on that table are said; ``{k}``
is a count. In SQL, ``{where}`` stands for the conditions.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from luthier.demo.filters import FILTERS, Split, of_table

Kind = Literal["list", "count", "aggregate", "group", "order", "join"]
FilterSet = tuple[str, ...]

_COUNTS: dict[Split, tuple[int, ...]] = {"train": (2, 3, 5, 6), "heldout": (4, 7)}
_THRESHOLDS: dict[Split, tuple[int, ...]] = {"train": (1, 3, 4), "heldout": (2,)}


@dataclass(frozen=True)
class Shape:
    """One thing to ask for.

    Attributes:
        kind: The family, a slice of the evaluation.
        name: Unique; first part of a combination's name.
        filter_sets: Names of the conditions that may stand in it together.
        counts: Values of ``{k}`` for each side; None where there is none.
    """

    kind: Kind
    name: str
    sql: str
    phrases: tuple[str, ...]
    filter_sets: tuple[FilterSet, ...]
    counts: dict[Split, tuple[int, ...]] | None = None

    @property
    def training_turns(self) -> int:
        """How often it has its turn in a round of training questions: what is harder to learn is practised twice."""
        return 2 if self.kind == "join" or "HAVING" in self.sql or "DISTINCT" in self.sql else 1


def _single(table: str, *without: str) -> tuple[FilterSet, ...]:
    return tuple((f.name,) for f in of_table(table) if f.column not in without)


def _pairs(table: str, *without: str) -> tuple[FilterSet, ...]:
    """Two conditions on different columns, at most one of them an equality (two equalities leave almost no rows)."""
    allowed = [f for f in of_table(table) if f.column not in without]
    return tuple(
        (a.name, b.name)
        for a, b in itertools.combinations(allowed, 2)
        if a.column != b.column and (a.is_comparison or b.is_comparison)
    )


def _one_or_two(table: str, *without: str) -> tuple[FilterSet, ...]:
    return _single(table, *without) + _pairs(table, *without)


def _across(first: str, second: str) -> tuple[FilterSet, ...]:
    """One condition on each of two tables."""
    pairs = itertools.product(_single(first), _single(second))
    return tuple((a[0], b[0]) for a, b in pairs if FILTERS[a[0]].is_comparison != FILTERS[b[0]].is_comparison)


_LISTS = (
    Shape("list", "product names", "SELECT name FROM products{where}",
          ("List the names of the products {products}.", "What are the names of the products {products}?",
           "Give me the name of every product {products}."),
          _one_or_two("products")),
    Shape("list", "product names and prices", "SELECT name, price FROM products{where}",
          ("Show the name and the price of the products {products}.",
           "What are the names and prices of the products {products}?"),
          _single("products", "price")),
    Shape("list", "customer names", "SELECT name FROM customers{where}",
          ("List the names of the customers {customers}.", "What are the names of the customers {customers}?",
           "Give me the name of every customer {customers}."),
          _one_or_two("customers")),
    Shape("list", "customer names and cities", "SELECT name, city FROM customers{where}",
          ("Show the name and the city of the customers {customers}.",
           "What are the names and cities of the customers {customers}?"),
          _single("customers", "city")),
    Shape("list", "order ids", "SELECT order_id FROM orders{where}",
          ("List the ids of the orders {orders}.", "What are the ids of the orders {orders}?"),
          _one_or_two("orders")),
)  # fmt: skip

_COUNTED = (
    Shape("count", "count products", "SELECT COUNT(*) FROM products{where}",
          ("How many products {products} are there?", "Count the products {products}.",
           "What is the number of products {products}?"),
          _one_or_two("products")),
    Shape("count", "count customers", "SELECT COUNT(*) FROM customers{where}",
          ("How many customers {customers} are there?", "Count the customers {customers}.",
           "What is the number of customers {customers}?"),
          _one_or_two("customers")),
    Shape("count", "count orders", "SELECT COUNT(*) FROM orders{where}",
          ("How many orders {orders} are there?", "Count the orders {orders}.",
           "What is the number of orders {orders}?"),
          _one_or_two("orders")),
    Shape("count", "count brands", "SELECT COUNT(DISTINCT brand) FROM products{where}",
          ("How many different brands are there among the products {products}?",
           "Count the different brands of the products {products}."),
          _single("products", "brand")),
)  # fmt: skip


def _aggregate(name: str, expression: str, column: str, table: str, noun: str) -> Shape:
    return Shape(
        "aggregate", name, f"SELECT {expression} FROM {table}{{where}}",
        (f"What is the {noun} of the {table} {{{table}}}?", f"Find the {noun} of the {table} {{{table}}}."),
        _one_or_two(table, column),
    )  # fmt: skip


_AGGREGATES = (
    _aggregate("average price", "AVG(price)", "price", "products", "average price"),
    _aggregate("highest price", "MAX(price)", "price", "products", "highest price"),
    _aggregate("lowest price", "MIN(price)", "price", "products", "lowest price"),
    _aggregate("total stock", "SUM(stock)", "stock", "products", "total stock"),
    _aggregate("average stock", "AVG(stock)", "stock", "products", "average stock"),
    _aggregate("latest order date", "MAX(order_date)", "order_date", "orders", "latest order date"),
    _aggregate("earliest signup date", "MIN(signup_date)", "signup_date", "customers", "earliest sign-up date"),
)


def _per(column: str, table: str, expression: str, noun: str) -> Shape:
    return Shape(
        "group", f"{noun} per {column}", f"SELECT {column}, {expression} FROM {table}{{where}} GROUP BY {column}",
        (f"For each {column}, what is the {noun} {{{table}}}?", f"Show the {noun} {{{table}}} per {column}."),
        _single(table, column, *(["price"] if "price" in expression else [])),
    )  # fmt: skip


def _having(column: str, plural: str, table: str) -> Shape:
    return Shape(
        "group", f"{plural} with many {table}",
        f"SELECT {column} FROM {table}{{where}} GROUP BY {column} HAVING COUNT(*) > {{k}}",
        (f"Which {plural} have more than {{k}} {table} {{{table}}}?",
         f"List each {column} that has more than {{k}} {table} {{{table}}}."),
        _single(table, column), _THRESHOLDS,
    )  # fmt: skip


_GROUPS = (
    _per("category", "products", "COUNT(*)", "number of products"),
    _per("brand", "products", "COUNT(*)", "number of products"),
    _per("category", "products", "AVG(price)", "average price of the products"),
    _per("brand", "products", "MAX(price)", "highest price of the products"),
    _per("city", "customers", "COUNT(*)", "number of customers"),
    _per("segment", "customers", "COUNT(*)", "number of customers"),
    _per("status", "orders", "COUNT(*)", "number of orders"),
    _per("channel", "orders", "COUNT(*)", "number of orders"),
    _having("city", "cities", "customers"),
    _having("category", "categories", "products"),
)


def _top(name: str, extreme: str, order: str, table: str, column: str) -> Shape:
    return Shape(
        "order", name, f"SELECT name FROM {table}{{where}} ORDER BY {order} LIMIT {{k}}",
        (f"Among the {table} {{{table}}}, what are the names of the {{k}} {extreme}?",
         f"Of the {table} {{{table}}}, name the {{k}} {extreme}."),
        _single(table, column), _COUNTS,
    )  # fmt: skip


_TOPS = (
    _top("cheapest products", "cheapest", "price", "products", "price"),
    _top("dearest products", "most expensive", "price DESC", "products", "price"),
    _top("largest stock", "with the largest stock", "stock DESC", "products", "stock"),
    _top("newest customers", "who signed up last", "signup_date DESC", "customers", "signup_date"),
    _top("oldest customers", "who signed up first", "signup_date", "customers", "signup_date"),
)

_CUSTOMERS_OF_ORDERS = "orders JOIN customers USING (customer_id){where}"
_PRODUCTS_OF_ITEMS = "items JOIN products USING (product_id){where}"
_ORDERS_OF_ITEMS = "items JOIN orders USING (order_id){where}"

_JOINS = (
    Shape("join", "count orders by customers", f"SELECT COUNT(*) FROM {_CUSTOMERS_OF_ORDERS}",
          ("How many orders were placed by customers {customers}?", "Count the orders of customers {customers}."),
          _single("customers")),
    Shape("join", "count orders by customers, both", f"SELECT COUNT(*) FROM {_CUSTOMERS_OF_ORDERS}",
          ("How many orders {orders} belong to customers {customers}?",),
          _across("customers", "orders")),
    Shape("join", "customers with orders", f"SELECT DISTINCT name FROM {_CUSTOMERS_OF_ORDERS}",
          ("List, each once, the names of the customers who have orders {orders}.",
           "Which different customer names have orders {orders}?"),
          _single("orders")),
    Shape("join", "units of products", f"SELECT SUM(quantity) FROM {_PRODUCTS_OF_ITEMS}",
          ("What is the total quantity sold of products {products}?", "How many units of products {products} were sold?"),
          _single("products")),
    Shape("join", "revenue of products", f"SELECT SUM(quantity * price) FROM {_PRODUCTS_OF_ITEMS}",
          ("What is the total revenue of products {products}?", "How much revenue did products {products} make?"),
          _single("products")),
    Shape("join", "units in orders", f"SELECT SUM(quantity) FROM {_ORDERS_OF_ITEMS}",
          ("What is the total quantity in the orders {orders}?", "How many units are in the orders {orders}?"),
          _single("orders")),
    Shape("join", "orders per city", f"SELECT city, COUNT(*) FROM {_CUSTOMERS_OF_ORDERS} GROUP BY city",
          ("For each customer city, what is the number of orders {orders}?",
           "Show the number of orders {orders} per customer city."),
          _single("orders")),
    Shape("join", "units per category", f"SELECT category, SUM(quantity) FROM {_PRODUCTS_OF_ITEMS} GROUP BY category",
          ("For each category, what is the total quantity sold of products {products}?",
           "Show the total quantity sold of products {products} per category."),
          _single("products", "category")),
    Shape("join", "units of products in orders",
          "SELECT SUM(quantity) FROM items JOIN products USING (product_id) JOIN orders USING (order_id){where}",
          ("How many units of products {products} are in orders {orders}?",
           "What is the total quantity of products {products} in orders {orders}?"),
          _across("products", "orders")),
)  # fmt: skip

SHAPES: tuple[Shape, ...] = _LISTS + _COUNTED + _AGGREGATES + _GROUPS + _TOPS + _JOINS
