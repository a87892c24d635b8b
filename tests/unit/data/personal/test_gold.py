"""Personal data against gold spans: presidio-research's generated texts, by type."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

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
    assert set(false) <= set(LEAST)  # no number of another country is seen where there is none
    for kind, (recall, precision) in LEAST.items():
        assert right[kind] / (right[kind] + missed[kind]) >= recall, kind
        assert right[kind] / (right[kind] + false[kind]) >= precision, kind
