"""Each kind of personal data: numbers published as examples by those who give them out, and neighbours that are none."""

from __future__ import annotations

import itertools
import re

import pytest

from luthier.data.personal.address import find_addresses
from luthier.data.personal.find import find_assigned_secrets, find_known_secrets, find_personal_data
from luthier.data.personal.iban import is_iban
from luthier.data.personal.national_id import NATIONAL_IDS, passes_verhoeff
from luthier.data.personal.secrets import entropy_bits


def kinds(text: str) -> list[str]:
    return [span.kind for span in find_personal_data(text)]


def only(text: str) -> str:
    (span,) = find_personal_data(text)
    return span.of(text)


@pytest.mark.parametrize("address", ["a@b.de", "anna.berg+x@mail.co.uk", "O'Neil@x-y.org", "x_1@sub.domain.museum"])
def test_emails(address: str):
    assert only(f"Write to <{address}>, or not.") == address


@pytest.mark.parametrize(
    "text", ["x@example.com", "me @ home.de", "a@b", "@user.name", "git@", "x@foo.example", "3@4.5"]
)
def test_no_emails(text: str):
    assert kinds(text) == []


# Examples of the IBAN registry.
IBANS = [
    "GB82 WEST 1234 5698 7654 32",
    "DE89370400440532013000",
    "FR14 2004 1010 0505 0001 3M02 606",
    "NO93 8601 1117 947",
]


@pytest.mark.parametrize("account", IBANS)
def test_ibans(account: str):
    assert only(f"Pay to {account} today 5 euros") == account
    wrong = account[:-1] + str((int(account[-1]) + 1) % 10)
    assert not is_iban(wrong)
    assert "iban" not in kinds(f"Pay to {wrong} today")


# Test numbers of the payment providers, in the issuers' own ranges.
@pytest.mark.parametrize("number", ["4539148803436467", "5105 1051 0510 5100", "3782-822463-10005", "6011000990139424"])
def test_cards(number: str):
    assert only(f"card {number}.") == number


@pytest.mark.parametrize(
    "text",
    ["4539148803436468", "1234567812345670", "0000000000000000", "x = 4539148803436467.25", "id 994539148803436467"],
)
def test_no_cards(text: str):
    assert "card" not in kinds(text)


@pytest.mark.parametrize("address", ["8.8.4.4", "192.168.1.20", "2a00:1450:4001:82b::200e", "fe80::1ff:fe23:4567:890a"])
def test_ips(address: str):
    assert kinds(f"from {address} at noon") == ["ip"]


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4",
        "v10.0.0.1",
        "127.0.0.1",
        "0.0.0.0",
        "255.255.255.0",
        "10.0.0.0/8",
        "300.1.1.1",
        "1.2.3",
        "12:30:45",
        "a::b",
        "192.0.2.7",
        "std::vector::iterator",
        "1.2.3.4.5",
    ],
)
def test_no_ips(text: str):
    assert kinds(text) == []


@pytest.mark.parametrize(
    "number",
    [
        "+49 30 901820",
        "(212) 736-5000",
        "212-736-5000",
        "1-800-273-8255",
        "001-212-736-5000x12",
        "+1 (415) 555-2671",
        "(030) 901820",
    ],
)
def test_phones_by_their_shape(number: str):
    assert only(f"It is {number}, he said.") == number


@pytest.mark.parametrize(
    "text", ["Call 736 5000 now", "Tel.: 030 901820", "phone: 01 42 68 53 00", "736-5000 (office)"]
)
def test_phones_by_their_neighbours(text: str):
    assert kinds(text) == ["phone"]


@pytest.mark.parametrize(
    "text",
    [
        "from 1990-2000",
        "on 2024-07-26",
        "26.07.2024",
        "1 234 567 people",
        "ISBN 978-0-306-40615-7",
        "12345678",
        "3.1415926535",
        "$3000 / 200 phones",
        "calls f(1234567, 7654321)",
        "rows 100-200, 300-400",
        "1,000,000",
        "2 3 5 7 11 13 17 19",
        "id 20240726123000",
    ],
)
def test_no_phones(text: str):
    assert kinds(text) == []


# Published by the authorities or in the descriptions of the numbers: SKV 704, DVV, INSEE, DGP, Agenzia delle Entrate, BZSt,
# HMRC, NHS Data Dictionary, Receita Federal, UIDAI.
NATIONAL = {
    "us_ssn": ("219-09-9998", "219-00-9998"),
    "es_dni": ("12345678Z", "12345678A"),
    "it_codice_fiscale": ("MRTMTT91D08F205J", "MRTMTT91D08F205K"),
    "fr_nir": ("2 55 08 14 168 025 38", "2 55 08 14 168 025 39"),
    "fi_hetu": ("131052-308T", "131052-308U"),
    "se_personnummer": ("811228-9874", "811228-9875"),
    "no_fodselsnummer": ("01010750160", "01010750161"),
    "be_nrn": ("85.07.30-033.28", "85.07.30-033.29"),
    "pl_pesel": ("PESEL 44051401359", "PESEL 44051401358"),
    "de_steuer_id": ("Steuer-ID 86095742719", "Steuer-ID 86095742718"),
    "nl_bsn": ("BSN 111222333", "BSN 111222334"),
    "uk_nino": ("AB 12 34 56 C", "BG 12 34 56 C"),
    "uk_nhs": ("NHS number 943 476 5919", "NHS number 943 476 5918"),
    "br_cpf": ("529.982.247-25", "529.982.247-24"),
    "in_aadhaar": ("Aadhaar 2341 2341 2346", "Aadhaar 2341 2341 2345"),
}


def test_every_national_id_has_an_example():
    assert set(NATIONAL) == set(NATIONAL_IDS)


@pytest.mark.parametrize("kind", NATIONAL)
def test_national_ids(kind: str):
    right, wrong = NATIONAL[kind]
    assert kind in kinds(f"It is {right}, she said.")
    assert kind not in kinds(f"It is {wrong}, she said.")
    if NATIONAL_IDS[kind].word is not None:
        assert kind not in kinds(re.sub(r"[A-Za-z-]+ ", "", right))


def test_verhoeff():
    # The example of Verhoeff's thesis: 236 has the check digit 3. All single errors and swaps of neighbours are seen.
    assert passes_verhoeff("2363")
    for place in range(4):
        wrong = [f"{'2363'[:place]}{digit}{'2363'[place + 1 :]}" for digit in "0123456789"]
        assert sum(map(passes_verhoeff, wrong)) == 1
    assert not passes_verhoeff("3263")


@pytest.mark.parametrize(
    "address",
    [
        "29 Hornsey Road",
        "1600 Pennsylvania Ave. NW",
        "221B Baker St",
        "19 rue La Boétie",
        "Hauptstraße 12a",
        "Am Alten Markt 7",
        "Simavikveien 231",
        "Calle Mayor 5",
        "Via Roma, 10",
        "Rua Augusta 1998",
        "Rue de la Sarthe 421",
        "P.O. Box 123",
        "Springfield, IL 62704",
        "Suite 992",
    ],
)
def test_addresses(address: str):
    (span,) = find_addresses(f"She lived at {address}, they say.")
    assert address.endswith(span.of(f"She lived at {address}, they say."))


@pytest.mark.parametrize(
    "text",
    [
        "During 5 days, scoring 3 points",
        "12 Angry Men won 3 Oscars",
        "123 Main Street",
        "SELECT 1 WHERE Street = 2",
        "Katie 5, Brigade 22 and Watergate 3",
        "on the way 5 cars passed the road",
        "Chapter 3 Places of interest",
        "In 2012 Street food was new",
        "version a1 Oak Street",
    ],
)
def test_no_addresses(text: str):
    assert list(find_addresses(text)) == []


# Put together here, so that no scanner of sources takes this file for a leak.
SECRETS = {
    "aws_key": "AKIA" + "IOSFODNN7QWERTYU",
    "github_token": "ghp_" + "a1B2" * 9,
    "gitlab_token": "glpat-" + "x1Y2z3W4v5U6t7S8r9Q0",
    "slack_token": "xoxb-" + "123456789012-1234567890123-AbCdEfGhIjKl",
    "private_key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEpAIBAAKCAQEA1c7+9z5Pad7OejecsQ0b",
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "google_key": "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    "stripe_key": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "openai_key": "sk-proj-" + "a1b2C3d4E5f6g7H8i9J0k1L2m3N4o5P6",
    "huggingface_token": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh",
    "npm_token": "npm_" + "a1B2c3D4e5F6" * 3,
    "sendgrid_key": "SG." + "a1B2c3D4e5F6g7H8i9J0kL." + "x" * 20 + "A1b2C3d4E5f6G7h8I9j0K1l",
    "url_password": "postgres://admin:" + "Sup3rS3kr1t@db.internal.net",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_known_secrets(kind: str):
    (span,) = find_known_secrets(f"use {SECRETS[kind]} there")
    assert span.kind == kind
    assert find_assigned_secrets(f"api_key = {SECRETS[kind]}") == [] or kind == "private_key"


@pytest.mark.parametrize(
    "text",
    [
        "AKIA",
        "ghp_short",
        "-----BEGIN PUBLIC KEY-----\nMIIB",
        "sk-learn",
        "risk-averse-and-quite-long-words-in-a-row",
        "https://x.org:8080/a",
        "-----BEGIN PRIVATE KEY-----\n...",
        "postgres://user:password@localhost/db",
        "the task-manager-of-1999",
    ],
)
def test_no_known_secrets(text: str):
    assert find_known_secrets(text) == []


@pytest.mark.parametrize(
    ("text", "is_secret"),
    [
        ("password: g7Kq2vXw9ZrT", True),
        ('API_KEY="9f8a7b6c5d4e3f2a1b0c9d8e"', True),
        ("password = os.environ['DB_PASSWORD1']", False),
        ("token: <your-token-123>", False),
        ("password: correcthorsebattery", False),
        ("secret = 'xxxxxxxxxxxx1'", False),
        ("The password is your birthday.", False),
        ("key: value", False),
        ("tokens = tokenizer.encode(text)[:512]", False),
    ],
)
def test_assigned_secrets(text: str, is_secret: bool):
    assert bool(find_assigned_secrets(text)) is is_secret


def test_entropy():
    assert entropy_bits("aaaa") == 0
    assert entropy_bits("abcd") == 2


def test_places_do_not_overlap():
    text = "Card 4539148803436467, mail a@b.de, SSN 219-09-9998, +49 30 901820, DE89370400440532013000, 8.8.4.4"
    spans = find_personal_data(text)
    assert [span.kind for span in spans] == ["card", "email", "us_ssn", "phone", "iban", "ip"]
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
