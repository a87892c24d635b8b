"""Keys and tokens: what opens an account or a service to whoever reads it.

Those with a shape of their own are found by it. Others are found where something is set to them (``password = "…"``,
``API_KEY: …``), if the value looks random; placeholders (``YOUR_API_KEY``, ``xxxx``, ``<token>``) are left alone.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from luthier.data.personal.span import Span

_SHAPES: dict[str, re.Pattern[str]] = {
    "aws_key": re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Z0-9])"),
    "github_token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})\b"),
    "gitlab_token": re.compile(r"\bglpat-[\w-]{20,}"),
    "slack_token": re.compile(
        r"\bxox[abeoprs]-(?:\d+-){1,3}[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/T\w+/B\w+/\w{20,}"
    ),
    "private_key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----\s+[A-Za-z0-9+/=:,\s-]{24}"),
    "jwt": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}"),
    "google_key": re.compile(r"\bAIza[\w-]{35}(?![\w-])"),
    "stripe_key": re.compile(r"\b[rs]k_live_[A-Za-z0-9]{16,}"),
    "openai_key": re.compile(r"\bsk-(?:proj-|svcacct-|ant-[a-z0-9]+-)?(?=[A-Za-z_-]*\d)[\w-]{32,}"),
    "huggingface_token": re.compile(r"\bhf_[A-Za-z]{34}\b"),
    "npm_token": re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"),
    "sendgrid_key": re.compile(r"\bSG\.[\w-]{22}\.[\w-]{43}"),
    "url_password": re.compile(
        r"\b[a-z][a-z0-9+.-]{2,20}://[^\s/:@'\"<>]{1,64}:(?P<value>[^\s/:@'\"<>{}$]{6,64})@[\w.-]+"
    ),
}
_SHAPE_HINT = re.compile(
    r"AKIA|ASIA|ABIA|ACCA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|slack\.com/services|PRIVATE KEY|eyJ|AIza|k_live_|sk-"
    r"|hf_|npm_|SG\.|://[^\s/@]{1,64}:[^\s/@]{1,64}@"
)
_ASSIGNED = re.compile(
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|auth[_-]?key|private[_-]?key|credential)s?[\w-]{0,20}"
    r"[\"']?\s{0,3}(?:=>|:=|=|:)\s{0,3}(?:Bearer\s+)?(?P<quote>[\"'`]?)(?P<value>[^\s\"'`,;<>(){}\[\]]{12,200})(?P=quote)",
    re.IGNORECASE,
)
_ASSIGNED_HINTS = ("pass", "pwd", "secret", "token", "key", "credential")
_PLACEHOLDER = re.compile(
    r"your|example|sample|dummy|placeholder|changeme|password|secret|insert|replace|redacted|\*{3}|x{4}|\.{3}|1234|abcd|test|https?:|/"
    r"|^\$|^%|\.(?:get|env|read|os|com|py|js)\b|_",
    re.IGNORECASE,
)
_LEAST_ENTROPY_BITS = 3.3


def find_shaped_secrets(text: str) -> Iterator[Span]:
    """Those with a form of their own, by kind."""
    if _SHAPE_HINT.search(text):
        for kind, pattern in _SHAPES.items():
            for found in pattern.finditer(text):
                value = found.groupdict().get("value")
                if value is None or not _PLACEHOLDER.search(value):
                    yield Span(kind, *found.span())


def find_assignments(text: str) -> Iterator[Span]:
    """Values that something secret is set to, if they look random."""
    if "=" not in text and ":" not in text:
        return
    lower = text.lower()
    if any(hint in lower for hint in _ASSIGNED_HINTS):
        for found in _ASSIGNED.finditer(text):
            if looks_random(found["value"]):
                yield Span("assigned_secret", *found.span("value"))


def looks_random(value: str) -> bool:
    """Letters and digits in no order of words: at least two kinds of signs, high entropy, no placeholder."""
    kinds = sum(bool(re.search(kind, value)) for kind in ("[a-z]", "[A-Z]", r"\d"))
    if kinds < 2 or not value.isascii() or not re.search(r"\d", value) or _PLACEHOLDER.search(value):
        return False
    return entropy_bits(value) >= _LEAST_ENTROPY_BITS


def entropy_bits(text: str) -> float:
    """Shannon entropy per sign, from the text's own frequencies."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())
