"""A part of the report that may be missing: an interrupted run has no evaluation, and one damaged file must not hide the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from luthier.errors import RunError

Content = TypeVar("Content")


@dataclass(frozen=True)
class Section(Generic[Content]):
    """What to show, or in one sentence why there is nothing to show."""

    content: Content | None
    absent: str = ""


def build_section(build: Callable[[], Content | None], *, files: str, absent: str) -> Section[Content]:
    """Run `build`; None means that the run has not written the part (`absent` says so).

    A file that cannot be read, or has another layout than this version writes, is named in the section instead.
    """
    try:
        content = build()
    except (RunError, KeyError, TypeError, ValueError, AttributeError) as error:
        missing = f"it has no entry {error}" if isinstance(error, KeyError) else str(error)
        return Section(None, f"{files} cannot be shown: {missing}. The other parts of this report are not affected.")
    return Section(content, "" if content is not None else absent)
