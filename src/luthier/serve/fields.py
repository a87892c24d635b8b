"""Reads the fields of a JSON request one by one, and refuses what nobody asked for: an ignored field is a wrong answer."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from luthier.serve.refusal import bad


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body.

    Raises:
        RefusedError: It is none (400).
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad(f"The body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}.") from error
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(content, ensure_ascii=False).encode()  # half of a surrogate pair is JSON, but no text
    except RecursionError as error:
        raise bad("The body is nested too deeply.") from error
    except UnicodeEncodeError as error:
        raise bad("The body holds half of a surrogate pair (\\ud800 … \\udfff), which is no character.") from error
    except ValueError as error:
        raise bad(f"The body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise bad("The body must be a JSON object.")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


class Fields:
    """The fields of a request. null means not given, as clients send it for their defaults."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._seen: set[str] = set()

    def any(self, name: str) -> Any:
        """As it stands; None where it is not given."""
        self._seen.add(name)
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        """A text."""
        value = self.any(name)
        if value is not None and not isinstance(value, str):
            raise bad(f"{name} must be a text.", name)
        return value

    def flag(self, name: str) -> bool:
        """True or false; not given is false."""
        value = self.any(name)
        if value is not None and not isinstance(value, bool):
            raise bad(f"{name} must be true or false.", name)
        return bool(value)

    def whole(self, name: str, low: int, high: int) -> int | None:
        """A whole number within bounds."""
        value = self.any(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise bad(f"{name} must be a whole number.", name)
        if not low <= value <= high:
            raise bad(
                f"{name} is {value if abs(value) < 10**12 else 'far off'}; it must be from {low} to {high}.", name
            )
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number within bounds."""
        value = self.any(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise bad(f"{name} must be a number.", name)
        if not low <= value <= high:
            raise bad(f"{name} is {value:g}; it must be from {low:g} to {high:g}.", name)
        return float(value)

    def refuse(self, name: str, *neutral: Any) -> None:
        """A field that is known, but that nothing is done about here: only values without effect may be given."""
        value = self.any(name)
        if value is not None and value not in neutral:
            raise bad(f"{name} is not supported by this server. Leave it out.", name, "unsupported_parameter")

    def skip(self, names: Collection[str]) -> None:
        """Fields that say nothing about the answer."""
        self._seen.update(names)

    def end(self) -> None:
        """Refuse what nobody has read."""
        for name in self._values:
            if name not in self._seen:
                near = get_close_matches(name, self._seen, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise bad(f"There is no field '{name[:100]}'.{hint}", name[:100], "unknown_parameter")
