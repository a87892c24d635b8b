"""Who may ask: keys from a file or the environment, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from luthier.errors import InputError

KEY_VARIABLE = "LUTHIER_API_KEYS"
SHORTEST_KEY = 16


class Keys:
    """Keys that are let in; without any, everybody is.

    Only hashes are kept, so that no message, dump or traceback can show a key.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def __len__(self) -> int:
        return len(self._digests)

    def admit(self, authorization: str | None) -> bool:
        """Whether ``Bearer KEY`` names one of them. Every key is compared, whichever fits: the time tells nothing."""
        if not self._digests:
            return True
        scheme, _, key = (authorization or "").partition(" ")
        given = _digest(key.strip())
        found = False
        for digest in self._digests:
            found |= hmac.compare_digest(digest, given)
        return found and scheme.lower() == "bearer"


def read_keys(file: Path | None) -> Keys:
    """Keys of a file (one a line; # begins a comment) and of the environment variable `KEY_VARIABLE` (between commas).

    Raises:
        InputError: The file cannot be read or holds no key, or a key is short enough to be guessed.
    """
    found: list[str] = [key.strip() for key in os.environ.get(KEY_VARIABLE, "").split(",") if key.strip()]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The file of keys {file} cannot be read: {error}") from error
        written = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
        if not written:
            raise InputError(f"The file of keys {file} holds no key. Write one a line.")
        found += written
    for key in found:
        if len(key) < SHORTEST_KEY or not key.isascii() or any(c.isspace() for c in key):
            raise InputError(
                f"A key of {len(key)} characters was given; a key has at least {SHORTEST_KEY}, all ASCII, without spaces. "
                "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
    return Keys(dict.fromkeys(found))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
