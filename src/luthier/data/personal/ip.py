"""IP addresses, versions 4 and 6.

Four numbers with dots are also a version or a section: those after "version", "v" or "section" are left alone. So are addresses
that lead nowhere (loopback, unspecified, the ranges of documentation), masks, and whole networks (10.0.0.0/8).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from luthier.data.personal.span import Span

_FOUR = re.compile(r"(?<![\d.\w/-])(?:\d{1,3}\.){3}\d{1,3}(?![\d\w])(?!\.\d|/\d)")
_SIX = re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}(?:[0-9a-fA-F]{1,4}|(?<=::))(?![\w:])(?!\.\d|/\d)")
_VERSION = re.compile(r"(?:\bv|version|release|section|chapter|clause|firmware|build|§)[ .:=]*\Z", re.IGNORECASE)
_NOBODYS = [
    ipaddress.ip_network(network)
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "255.0.0.0/8", "0.0.0.0/8")
]


def find_ips(text: str) -> Iterator[Span]:
    """All addresses that may be somebody's."""
    if text.count(".") >= 3:
        for found in _FOUR.finditer(text):
            if _is_somebodys(found.group()) and not _VERSION.search(text, max(0, found.start() - 12), found.start()):
                yield Span("ip", *found.span())
    if text.count(":") >= 2:
        for found in _SIX.finditer(text):
            if found.group().count(":") >= 3 and _is_somebodys(found.group()):
                yield Span("ip", *found.span())


def _is_somebodys(written: str) -> bool:
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return False
    return not any(address in network for network in _NOBODYS)
