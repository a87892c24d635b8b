"""The demo's SQLite database: a small shop, filled by arithmetic alone, so that every machine holds the same rows.

Four tables. Prices, stocks and sign-up dates are unique, so "the three cheapest" has one answer. Columns that join two
tables carry one name in both (`JOIN … USING (customer_id)`).
"""

from __future__ import annotations

import random
import sqlite3
from datetime import date, timedelta

CITIES = (
    "Lisbon", "Berlin", "Oslo", "Madrid", "Vienna", "Dublin", "Prague", "Athens", "Lyon", "Porto", "Malmo", "Genoa",
    "Bergen", "Seville", "Krakow", "Leeds", "Warsaw", "Zurich", "Ghent", "Turin",
)  # fmt: skip
SEGMENTS = ("student", "business", "family", "senior", "hotel", "museum", "school", "club")
CATEGORIES = (
    "Garden", "Kitchen", "Toys", "Office", "Sports", "Music", "Books", "Bath", "Fashion", "Tools",
    "Lighting", "Travel", "Pets", "Camping",
)  # fmt: skip
BRANDS = (
    "Lumo", "Arden", "Kestrel", "Nordal", "Tivoli", "Mira", "Bravo", "Solen", "Hask", "Pinto",
    "Osprey", "Calla", "Vesper", "Quill",
)  # fmt: skip
STATUSES = ("pending", "shipped", "delivered", "cancelled", "packed", "refunded", "returned", "paid")
CHANNELS = ("web", "app", "phone", "store", "chat", "market", "email", "partner")

FIRST_DAY = date(2023, 1, 1)
NUM_DAYS = 730

_FIRST_NAMES = (
    "Ana", "Ben", "Clara", "David", "Eva", "Felix", "Greta", "Hugo", "Ines", "Jonas",
    "Karla", "Liam", "Mina", "Nils", "Olga", "Paul",
)  # fmt: skip
_LAST_NAMES = ("Adler", "Brandt", "Costa", "Duarte", "Engel", "Fischer", "Gomes", "Haas", "Iversen", "Jansen")
_PRODUCT_ADJECTIVES = ("Oak", "Steel", "Blue", "Mini", "Soft", "Grand", "Red", "Light", "Smart", "Classic")
_PRODUCT_NOUNS = (
    "Lamp", "Chair", "Kettle", "Ball", "Tent", "Flute", "Bag", "Bowl", "Pen", "Rug", "Shelf", "Clock",
)  # fmt: skip

_SCHEMA = """
CREATE TABLE customers (customer_id INTEGER PRIMARY KEY, name TEXT, city TEXT, segment TEXT, signup_date TEXT);
CREATE TABLE products (product_id INTEGER PRIMARY KEY, name TEXT, category TEXT, brand TEXT, price REAL, stock INTEGER);
CREATE TABLE orders (order_id INTEGER PRIMARY KEY, customer_id INTEGER, order_date TEXT, status TEXT, channel TEXT);
CREATE TABLE items (order_id INTEGER, product_id INTEGER, quantity INTEGER);
"""


def schema_text() -> str:
    """The tables as they stand in every prompt: one line each, short, because each token of it is paid in every row."""
    return (
        "customers(customer_id, name, city, segment, signup_date)\n"
        "products(product_id, name, category, brand, price, stock)\n"
        "orders(order_id, customer_id, order_date, status, channel)\n"
        "items(order_id, product_id, quantity)"
    )


def build_database() -> sqlite3.Connection:
    """A new in-memory shop: 160 customers, 120 products, 600 orders, about 1,200 items. The same on every machine."""
    generator = random.Random("shop database")
    connection = sqlite3.connect(":memory:")
    connection.executescript(_SCHEMA)
    connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", _customers(generator))
    connection.executemany("INSERT INTO products VALUES (?, ?, ?, ?, ?, ?)", _products(generator))
    orders, items = _orders(generator)
    connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", orders)
    connection.executemany("INSERT INTO items VALUES (?, ?, ?)", items)
    connection.commit()
    return connection


def _day(offset: int) -> str:
    return (FIRST_DAY + timedelta(days=offset)).isoformat()


def _dealt(generator: random.Random, values: tuple[str, ...], count: int) -> list[str]:
    """`count` values in random order in which every value occurs about equally often."""
    dealt = [values[i % len(values)] for i in range(count)]
    generator.shuffle(dealt)
    return dealt


def _customers(generator: random.Random) -> list[tuple[object, ...]]:
    names = [f"{first} {last}" for last in _LAST_NAMES for first in _FIRST_NAMES]
    generator.shuffle(names)
    cities, segments = _dealt(generator, CITIES, len(names)), _dealt(generator, SEGMENTS, len(names))
    days = generator.sample(range(NUM_DAYS), len(names))
    return [(i + 1, names[i], cities[i], segments[i], _day(days[i])) for i in range(len(names))]


def _products(generator: random.Random) -> list[tuple[object, ...]]:
    names = [f"{adjective} {noun}" for noun in _PRODUCT_NOUNS for adjective in _PRODUCT_ADJECTIVES]
    generator.shuffle(names)
    categories, brands = _dealt(generator, CATEGORIES, len(names)), _dealt(generator, BRANDS, len(names))
    prices = generator.sample(range(8, 200), len(names))
    stocks = generator.sample(range(5, 150), len(names))
    return [(i + 1, names[i], categories[i], brands[i], prices[i] + 0.5, stocks[i]) for i in range(len(names))]


def _orders(generator: random.Random) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    num_orders, num_customers, num_products = 600, 160, 120
    statuses, channels = _dealt(generator, STATUSES, num_orders), _dealt(generator, CHANNELS, num_orders)
    orders: list[tuple[object, ...]] = []
    items: list[tuple[object, ...]] = []
    for i in range(num_orders):
        customer, day = generator.randint(1, num_customers), _day(generator.randrange(NUM_DAYS))
        orders.append((i + 1, customer, day, statuses[i], channels[i]))
        for product in generator.sample(range(1, num_products + 1), generator.randint(1, 3)):
            items.append((i + 1, product, generator.randint(1, 5)))
    return orders, items
