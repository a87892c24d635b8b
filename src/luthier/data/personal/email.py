"""E-mail addresses. Addresses that documentation reserves (example.com, RFC 2606) belong to nobody and are left alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from luthier.data.personal.span import Span

_ADDRESS = re.compile(
    r"(?<![\w.+%-])[A-Za-z0-9_](?:[\w.+%'-]{0,62}[\w+-])?@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w-])"
)
_RESERVED = re.compile(
    r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|(?:[\w-]+\.)?(?:example|invalid|test|localhost))\Z", re.I
)


def find_emails(text: str) -> Iterator[Span]:
    """All addresses."""
    if "@" not in text:
        return
    for found in _ADDRESS.finditer(text):
        if not _RESERVED.search(found.group()):
            yield Span("email", *found.span())
