"""Personal data against gold spans: presidio-research's generated texts, by type."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from luthier.data.personal.address import find_addresses
from luthier.data.personal.find import find_personal_data

KINDS = {
    "EMAIL_ADDRESS": "email",
    "IBAN_CODE": "iban",
    "CREDIT_CARD": "card",
    "IP_ADDRESS": "ip",
    "US_SSN": "us_ssn",
    "PHONE_NUMBER": "phone",
}
LEAST = dict.fromkeys(("email", "iban", "card", "ip", "us_ssn"), (0.95, 0.9)) | {"phone": (0.8, 0.8)}


def test_recall_and_precision_by_type(shared_data: Path) -> None:
    folder = shared_data / "dirty" / "presidio_pii"
    if not folder.is_dir():
        pytest.skip("the texts with gold spans are not beside the repository")
    right, missed, false = Counter[str](), Counter[str](), Counter[str]()
    for file in ("generated_large.json", "generated_small.json"):
        for text in json.loads((folder / file).read_text(encoding="utf-8")):
            gold = {
                (KINDS[s["entity_type"]], s["start_position"], s["end_position"])
                for s in text["spans"]
                if s["entity_type"] in KINDS
            }
            found = {tuple(span) for span in find_personal_data(text["full_text"])}
            for kind, start, end in gold:
                hits = {f for f in found if f[0] == kind and f[1] < end and start < f[2]}
                right[kind] += bool(hits)
                missed[kind] += not hits
                found -= hits
            false.update(kind for kind, _, _ in found)
    assert right.total() + missed.total() > 500
    assert set(false) <= {*LEAST, "address"}  # no number of another country is seen where there is none
    for kind, (recall, precision) in LEAST.items():
        assert right[kind] / (right[kind] + missed[kind]) >= recall, kind
        assert right[kind] / (right[kind] + false[kind]) >= precision, kind


def test_street_addresses_come_with_high_precision_and_miss_a_third(shared_data: Path) -> None:
    """Gold spans of type ADDRESS that hold a name and a number; a hit anywhere in an address counts as no false one."""
    folder = shared_data / "dirty" / "presidio_pii"
    if not folder.is_dir():
        pytest.skip("the texts with gold spans are not beside the repository")
    found_of, num_gold, num_false, num_found = 0, 0, 0, 0
    for file in ("generated_large.json", "generated_small.json"):
        for text in json.loads((folder / file).read_text(encoding="utf-8")):
            found = list(find_addresses(text["full_text"]))
            places = [
                (s["start_position"], s["end_position"])
                for s in text["spans"]
                if s["entity_type"] in ("ADDRESS", "LOCATION")
            ]
            streets = [
                (s["start_position"], s["end_position"])
                for s in text["spans"]
                if s["entity_type"] == "ADDRESS"
                and re.search(r"[^\W\d]{3}.*\d|\d.*[^\W\d]{3}", s["entity_value"], re.DOTALL)
                and not re.match(r"Suite|Apt", s["entity_value"])
            ]
            num_gold += len(streets)
            found_of += sum(any(f.start < end and start < f.end for f in found) for start, end in streets)
            num_found += len(found)
            num_false += sum(not any(f.start < end and start < f.end for start, end in places) for f in found)
    assert num_gold > 500
    assert found_of / num_gold >= 0.65
    assert num_false / num_found <= 0.02
