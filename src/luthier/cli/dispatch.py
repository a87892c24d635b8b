"""Runs a verb and ends it properly: result or error to the right stream, and the exit code that belongs to it.

This is the one place that knows how errors look on a command line. A verb returns an `Outcome` and prints nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import FrameType
from typing import Any, TextIO, cast

from rich.console import Console
from rich.text import Text

from luthier.cli.streams import LastingStream
from luthier.errors import Interrupted, LuthierError, ResourceError

WIDTH_OFF_TERMINAL = 1000
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Outcome:
    """What a verb hands back.

    Attributes:
        content: The JSON object of `--json`.
        show: Writes the same for people.
        exit_code: 0 good, 1 a check or gate failed.
    """

    content: Mapping[str, Any]
    show: Callable[[Console], None]
    exit_code: int = 0


@dataclass(frozen=True)
class Wish:
    """What the whole command line asks for, as a verb sees it in ``context.obj``."""

    wants_json: bool


def dispatch(module: str, program: str, arguments: Sequence[str], *, wants_json: bool) -> int:
    """Run the verb that lives in `module`; returns the exit code."""
    try:
        with _quiet_stdout(wants_json), _end_signals_interrupt(), _disk_faults_explained():
            result = _call(module, program, arguments, wants_json)
    except LuthierError as error:
        return _fail(error, wants_json)
    except Exception as error:
        if wants_json:
            _print_error(type(error).__name__, str(error))
        raise  # a bug: the traceback is what we need
    return result if isinstance(result, int) else _finish(result, wants_json)


def _finish(outcome: Outcome, wants_json: bool) -> int:
    try:
        if wants_json:
            print(json.dumps(outcome.content, allow_nan=False))
        else:
            outcome.show(stdout_console())
        sys.stdout.flush()
    except BrokenPipeError:  # `luthier runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return outcome.exit_code


def refuse(message: str, help_command: str, *, wants_json: bool) -> int:
    """End with a fault in the command line itself."""
    if wants_json:
        _print_error("UsageError", message)
    console = stderr_console()
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    console.print(f"Help: {help_command}", soft_wrap=True)
    return 2


def stdout_console() -> Console:
    """For results. Values are never taken for markup."""
    return _console(sys.stdout)


def stderr_console() -> Console:
    """For progress and words; what they tell of goes on when nobody reads them any more."""
    return _console(cast("TextIO", LastingStream(sys.stderr)))


def _console(file: TextIO) -> Console:
    # In a file or a pipe lines stay whole and tables keep their columns: it is searched and cut, not looked at.
    width = None if file.isatty() or "COLUMNS" in os.environ else WIDTH_OFF_TERMINAL
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


def _call(module: str, program: str, arguments: Sequence[str], wants_json: bool) -> Outcome | int:
    import typer
    from typer.exceptions import TyperException

    command = typer.main.get_command(import_module(module).app)
    _document_json(command)
    try:
        # A verb that has to know asks `context.obj.wants_json`; --json itself was taken out by `main`.
        result = command.main(list(arguments), prog_name=program, standalone_mode=False, obj=Wish(wants_json))
    except TyperException as error:
        message = re.sub(r" \(Possible options: (.*)\)$", r". Did you mean \1?", error.format_message())
        if message == "Missing command.":
            message = f"Which one? {', '.join(getattr(command, 'commands', {}))}"
        message = _with_a_hint(message, command)
        raise UsageError(f"{message}\nHelp: {program} --help") from error
    if result == 128 + signal.SIGINT:  # typer's answer to Ctrl-C; 0 after --help
        raise Interrupted(signal.SIGINT, "Interrupted.")
    return result


def _with_a_hint(message: str, command: Any) -> str:
    """For an option that there is none of: --json, or a value of the recipe, which is given without dashes."""
    unknown = re.match(r"No such option: (--?[\w.-]+)", message)
    if unknown is None:
        return message
    option = unknown[1].rstrip(".")
    if re.fullmatch(r"--?j\w*", option):
        return f"No such option: {option}. Did you mean --json?"
    commands = (command, *getattr(command, "commands", {}).values())
    if not any(parameter.name == "overrides" for each in commands for parameter in each.params):
        return message
    from luthier.config.fields import field_like

    field = field_like(option.lstrip("-").replace("-", "_"))
    return f"No such option: {option}. Values of the recipe have no dashes: {field}=…" if field else message


class UsageError(LuthierError):
    """The command line cannot be understood."""

    exit_code = 2


def _document_json(command: Any) -> None:
    """Name `--json`, which `main` has taken out already, in the help of a verb and of its sub-commands."""
    for sub in getattr(command, "commands", {}).values():
        _document_json(sub)
    command.epilog = "With --json: one JSON object on stdout; progress and words go to stderr."


def _fail(error: LuthierError, wants_json: bool) -> int:
    if wants_json:
        _print_error(type(error).__name__, str(error))
    label, style = ("stopped: ", "yellow") if isinstance(error, Interrupted) else ("error: ", "red")
    stderr_console().print(Text.assemble((label, f"bold {style}"), (str(error), style)), soft_wrap=True)
    return error.exit_code


def _print_error(name: str, message: str) -> None:
    print(json.dumps({"error": {"type": name, "message": message}}))


@contextlib.contextmanager
def _quiet_stdout(wants_json: bool) -> Iterator[None]:
    """With --json nothing but our object may reach stdout, whatever a library prints."""
    with contextlib.redirect_stdout(sys.stderr) if wants_json else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _disk_faults_explained() -> Iterator[None]:
    """A full or unwritable disk is nobody's bug, wherever it shows."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FAULTS:
            raise
        place = error.filename or "the disk"
        raise ResourceError(f"{error.strerror}: {place}. Free some space or choose another place.") from error


@contextlib.contextmanager
def _end_signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP become an `Interrupted`, so that what is open is closed; training replaces this while it runs.

    A SIGHUP that is ignored (nohup, a detached start) stays ignored.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        raise Interrupted(number, f"Terminated ({signal.Signals(number).name}).")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in wanted}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
