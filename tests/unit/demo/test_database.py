from __future__ import annotations

import hashlib

from luthier.demo.database import build_database, schema_text


def test_every_machine_holds_the_same_rows() -> None:
    dump = "\n".join(build_database().iterdump())
    assert dump == "\n".join(build_database().iterdump())
    # The rows are part of what the demo's numbers mean: a change of them has to be meant.
    assert hashlib.sha256(dump.encode()).hexdigest()[:16] == "e9dc479921a600c2"


def test_schema_text_names_the_real_tables_and_columns() -> None:
    connection = build_database()
    for line in schema_text().splitlines():
        table, columns = line.rstrip(")").split("(")
        real = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        assert columns.split(", ") == real


def test_what_questions_order_by_is_unique() -> None:
    connection = build_database()
    for table, column in (("products", "price"), ("products", "stock"), ("customers", "signup_date")):
        rows, distinct = connection.execute(f"SELECT COUNT(*), COUNT(DISTINCT {column}) FROM {table}").fetchone()
        assert rows == distinct > 50


def test_joins_lose_no_row() -> None:
    connection = build_database()
    (items,) = connection.execute("SELECT COUNT(*) FROM items").fetchone()
    (joined,) = connection.execute(
        "SELECT COUNT(*) FROM items JOIN orders USING (order_id) JOIN customers USING (customer_id) "
        "JOIN products USING (product_id)"
    ).fetchone()
    assert items == joined > 600
