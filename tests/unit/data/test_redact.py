"""Replaced values: consistent, nobody's, found as nothing; what stands around them stays."""

from __future__ import annotations

import ipaddress
import json
import random
import re

import pytest

from luthier.data.personal.card import is_card
from luthier.data.personal.find import find_assigned_secrets, find_known_secrets, find_personal_data
from luthier.data.personal.iban import is_iban
from luthier.data.personal.replacement import STYLES, fake, shaped
from luthier.data.redact import Redactor, choose_kinds
from luthier.errors import InputError

KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    + "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfnygWyF8PbnGy0AHB7M\n" * 3
    + "-----END RSA PRIVATE KEY-----"
)
VALUES = {
    "email": ["john.smith@acme.com", "a.b@corp.org"],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819"],
    "card": ["4012 8888 8888 1881", "378282246310005"],
    "us_ssn": ["536-90-4399"],
    "es_dni": ["12345678Z"],
    "ip": ["81.2.69.142", "2a02:8109:9440:1198::7"],
    "phone": ["+1 (415) 867-5309", "(415) 867-5301", "+49 30 901820"],
    "aws_key": ["AKIAIOSFODNN7QXAMPLA"],
    "url_password": ["postgres://admin:s3cr3tPW9@db.corp.com"],
    "private_key": [KEY],
    "assigned_secret": ["hG7kk2LmZq9PwT"],
}


def sentence(kind: str, value: str) -> str:
    return f"See password = '{value}' here" if kind == "assigned_secret" else f"Write to {value} today"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", VALUES)
def test_nothing_is_left_and_nothing_else_is_lost(kind, style):
    for value in VALUES[kind]:
        redactor = Redactor(style=style)
        text = sentence(kind, value)
        redacted = redactor.redact(text)
        assert value not in redacted
        start, end = text.split(value)
        assert redacted.startswith(start)
        assert redacted.endswith(end)
        assert not [*find_personal_data(redacted), *find_known_secrets(redacted), *find_assigned_secrets(redacted)]
        assert redactor.counts == {kind: 1}
        assert redactor.redact(redacted) == redacted


def test_equal_values_get_equal_replacements_however_they_are_written():
    redactor = Redactor()
    first = redactor.redact("Ask JOHN@acme.com or eve@acme.com; IBAN DE89370400440532013000, call 415-867-5309")
    assert first == "Ask [EMAIL_1] or [EMAIL_2]; IBAN [IBAN_1], call [PHONE_1]"
    assert redactor.redact("john@ACME.com, DE89 3704 0044 0532 0130 00, (415) 867-5309, bob@acme.com") == (
        "[EMAIL_1], [IBAN_1], [PHONE_1], [EMAIL_3]"
    )


def test_hashes_depend_on_the_key_alone():
    def of(key: bytes | None) -> str:
        return Redactor(style="hash", key=key).redact("to eve@acme.com")

    assert of(b"k") == of(b"k") != of(b"other")
    assert of(None) != of(None)  # a random key: nobody can try addresses
    assert re.fullmatch(r"to \[EMAIL_[0-9a-f]{12}\]", of(b"k"))


def test_fakes_are_nobodys():
    """Against the ranges that the standards reserve, and the check digits."""
    networks = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]

    def never(text: str) -> bool:
        return False

    for number in (1, 2, 9, 18, 99, 100, 254, 255, 762):
        made = fake("ip", "81.2.69.142", number, never)
        assert any(ipaddress.ip_address(made) in network for network in networks)
        assert ipaddress.ip_address(fake("ip", "2a02::7", number, never)) in ipaddress.ip_network("2001:db8::/32")
        assert re.search(r"555-01\d\d\Z", fake("phone", "+49 30 901820", number, never))
        assert not is_iban(fake("iban", "DE89370400440532013000", number, never))
        assert not is_card(fake("card", "4012888888881881", number, never))
    assert fake("ip", "81.2.69.142", 763, never) is None
    assert len({fake("ip", "1.2.3.4", n, never) for n in range(1, 763)}) == 762
    assert len({fake("phone", "415-867-5309", n, never) for n in range(1, 5000)}) == 4999
    assert fake("phone", "4158675309", 1, never).isdigit()
    assert shaped("AB-12 c3", 7) == "XX-00 X7"
    assert shaped("AB1", 7) is None


def test_a_tag_stands_where_no_fake_is_left():
    redactor = Redactor(style="fake")
    for number in range(762):
        redactor.redact(f"from 81.2.{number // 250}.{number % 250 + 1}")
    assert redactor.num_tags_for_fakes == 0
    assert redactor.redact("from 99.1.1.1") == "from [IP_763]"
    assert redactor.num_tags_for_fakes == 1


def test_a_private_key_goes_to_its_end_and_a_cut_one_as_far_as_it_is_one():
    assert Redactor().redact(f"a\n{KEY}\nb") == "a\n[PRIVATE_KEY_1]\nb"
    cut = KEY.split("-----END")[0]
    assert Redactor().redact(f"{cut}and some words") == "[PRIVATE_KEY_1]\nand some words"


def test_json_stays_json():
    text = json.dumps({"to": ["eve@acme.com"], "n": 4012888888881881, "text": 'a "quoted" é'})
    redacted = Redactor().redact_json(text)
    assert json.loads(redacted) == {"to": ["[EMAIL_1]"], "n": 4012888888881881, "text": 'a "quoted" é'}
    assert Redactor().redact_json('{"a":  1}') == '{"a":  1}'
    assert Redactor().redact_json("eve@acme.com {") == "[EMAIL_1] {"


def test_kinds_can_be_chosen():
    text = "eve@acme.com 81.2.69.142 AKIAIOSFODNN7QXAMPLA"
    assert Redactor(["ip"]).redact(text) == "eve@acme.com [IP_1] AKIAIOSFODNN7QXAMPLA"
    assert Redactor(["secret"]).redact(text) == "eve@acme.com 81.2.69.142 [AWS_KEY_1]"
    with pytest.raises(InputError, match="Did you mean 'email'"):
        choose_kinds(["emial"])
    with pytest.raises(InputError, match="tag, mask"):
        Redactor(style="stars")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("style", STYLES)
def test_many_values_in_one_text(style):
    rng = random.Random(1)
    pool = [(kind, value) for kind, values in VALUES.items() if kind != "assigned_secret" for value in values]
    for _ in range(40):
        text = "; ".join(f"w{rng.randrange(9)} call {value} x" for _, value in rng.sample(pool, 4))
        redacted = Redactor(style=style).redact(text)
        assert not [*find_personal_data(redacted), *find_known_secrets(redacted)], redacted
