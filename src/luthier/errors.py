"""Every error a user can meet. Each says what happened, the value seen, and what to do.

    LuthierError                 exit code
    ├── InputError                  2   something given to us is wrong
    │   ├── RecipeError                 the recipe: unknown keys, bad values (all of them at once)
    │   ├── DataError                   a data file or its rows
    │   ├── ModelError                  a model that cannot be found, loaded or used as asked
    │   ├── RunError                    a run folder: exists already, is not there, does not match
    │   └── MissingExtraError           an optional package that the request needs
    ├── EndpointError               2   a model that is asked over a network: unreachable, refuses, answers nonsense
    │   └── EmptyAnswerError            it answered with nothing
    ├── ResourceError               2   disk or memory too small, a device that is not there
    ├── CheckFailedError            1   a claim was tested and is false
    └── Interrupted               130   Ctrl-C (SIGINT); 143 for SIGTERM; 129 for a closed terminal (SIGHUP)

`exit_code` is what the command line ends with. Anything that is not a LuthierError is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from luthier.data.asking import Answer
    from luthier.types import Check


class LuthierError(Exception):
    """Root of all errors that are meant for the user."""

    exit_code: ClassVar[int] = 1


class InputError(LuthierError):
    """Something that was given to Luthier is wrong."""

    exit_code = 2


class RecipeError(InputError):
    """The recipe cannot be used; `problems` lists every fault found, each with its place."""

    def __init__(self, problems: Sequence[str], *, where: str = "recipe") -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{where}: {count}", *(f"  {p}" for p in self.problems)]))


class DataError(InputError):
    """A data file cannot be read or its rows cannot be learnt from."""


class ModelError(InputError):
    """A model cannot be found, loaded or used as asked."""


class RunError(InputError):
    """A run folder is missing, exists already, or does not match what is asked of it."""


class MissingExtraError(InputError):
    """An optional package is needed; the message names the one command that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. Run: pip install 'luthier[{extra}]'"
        )


class EndpointError(LuthierError):
    """A model that is asked did not answer.

    Attributes:
        ends_all: Whether asking it anything else would be in vain, too.
    """

    exit_code = 2

    def __init__(self, message: str, *, ends_all: bool) -> None:
        self.ends_all = ends_all
        super().__init__(message)


class EmptyAnswerError(EndpointError):
    """A model that is asked said nothing; `answer` is what came, with its tokens."""

    def __init__(self, message: str, answer: Answer) -> None:
        self.answer = answer
        super().__init__(message, ends_all=False)


class ResourceError(LuthierError):
    """The machine cannot do what is asked: disk, memory or device."""

    exit_code = 2


class CheckFailedError(LuthierError):
    """One or more checks failed; `checks` holds all records of the stage."""

    def __init__(self, stage: str, checks: Sequence[Check]) -> None:
        self.checks = tuple(checks)
        failed = [c for c in checks if not c.passed]
        lines = [f"{stage}: {len(failed)} of {len(checks)} checks failed"]
        for check in failed:
            unit = f" {check.unit}" if check.unit else ""
            lines.append(f"  {check.name}: {check.claim} Measured {check.measured}{unit}, limit {check.limit}{unit}.")
            lines.append(f"    {check.advice}")
        super().__init__("\n".join(lines))


class Interrupted(LuthierError):  # noqa: N818 - what happened is an interruption, not an error of anyone's
    """A signal asked us to stop; the state was saved first."""

    def __init__(self, signal_number: int, message: str) -> None:
        self.signal_number = signal_number
        super().__init__(message)

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """128 + signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + int(signals.Signals(self.signal_number))
