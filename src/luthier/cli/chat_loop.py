"""The conversation in a terminal: reads lines, knows the slash commands, shows answers as they come."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from luthier.cli.dispatch import Outcome, stderr_console, stdout_console
from luthier.cli.show_chat import SPEAKER_STYLES, show_help, show_history, show_tokens
from luthier.errors import InputError, LuthierError
from luthier.workflows.chat import SPEAKERS, ChatSession, Mode, turn_to_json


class Command(NamedTuple):
    """A slash command: what it takes, what it does in words, and the function. `run` is handed the text behind the name."""

    argument: str
    help: str
    run: Callable[[Conversation, str], None]


class Conversation:
    """A session with the consoles it is shown on; `is_over` ends the loop."""

    def __init__(self, session: ChatSession, console: Console, words: Console) -> None:
        self.session, self.console, self.words = session, console, words
        self.is_over = False

    def say(self, text: str) -> None:
        """A sentence about the conversation; it goes to stderr, like all that is no answer."""
        self.words.print(Text(text, style="dim"), soft_wrap=True)

    def take(self, line: str) -> None:
        """A line that was typed: a command, or a message."""
        text = line.strip()
        if not text:
            return
        try:
            if text.startswith("/"):
                self._command(*text[1:].partition(" ")[::2])
            else:
                self.answer(text)
        except LuthierError as error:
            self.words.print(Text(str(error), style="red"), soft_wrap=True)

    def _command(self, name: str, argument: str) -> None:
        if name not in COMMANDS:
            near = get_close_matches(name, COMMANDS, n=1)
            hint = f"Did you mean /{near[0]}?" if near else "All commands: /help"
            raise InputError(f"There is no command /{name}. {hint}")
        command, argument = COMMANDS[name], argument.strip()
        if argument and not command.argument:
            raise InputError(f"/{name} takes nothing behind it.")
        command.run(self, argument)

    def answer(self, message: str, *, with_names: bool = True) -> None:
        """Show the answers as they come, and keep them; Ctrl-C ends them."""
        session = self.session
        if session.base_is_another_model and session.mode != "tuned":
            self.say("The base model of a full fine-tune is a second model in memory.")
        speaker = None
        with _stop_on_ctrl_c() as stop, closing(session.ask(message)) as pieces:
            for piece in pieces:
                if piece.speaker != speaker and with_names:
                    self._head(piece.speaker, is_first=speaker is None)
                if piece.speaker != speaker:
                    speaker = piece.speaker
                self.console.out(piece.text, end="", highlight=False)
                self.console.file.flush()
                if stop.is_wanted:
                    break
        self.console.out("" if speaker else "(empty answer)", highlight=False)
        if stop.is_wanted:
            self.say("Stopped.")
        elif any(answer.ended_by == "length" for answer in session.turns[-1].answers.values()):
            self.say("Cut off at the longest answer allowed (--max-new-tokens).")

    def _head(self, speaker: str, *, is_first: bool) -> None:
        if not is_first:
            self.console.out("", highlight=False)
        self.console.print(Text(f"{speaker}: ", style=f"bold {SPEAKER_STYLES[speaker]}"), end="")


class _Stop:
    is_wanted = False


@contextmanager
def _stop_on_ctrl_c() -> Iterator[_Stop]:
    """Inside, Ctrl-C asks to stop after the token at work; a second one stops at once."""
    stop = _Stop()

    def note(number: int, frame: object) -> None:
        del number, frame
        if stop.is_wanted:
            raise KeyboardInterrupt
        stop.is_wanted = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _switch(mode: Mode) -> Callable[[Conversation, str], None]:
    def run(conversation: Conversation, _: str) -> None:
        conversation.session.mode = mode
        conversation.say(f"Now answering: {' and '.join(SPEAKERS[mode])}.")

    return run


def _system(conversation: Conversation, argument: str) -> None:
    session = conversation.session
    if argument == "default":
        session.set_system(None)
    elif argument:
        session.set_system(argument)
    conversation.say("System prompt: the run's own." if session.system is None else f"System prompt: {session.system}")


def _temperature(conversation: Conversation, argument: str) -> None:
    if argument:
        try:
            value = float(argument)
        except ValueError:
            raise InputError(f"'{argument}' is not a number. Example: /temperature 0.7") from None
        conversation.session.set_temperature(value)
    conversation.say(f"Temperature: {conversation.session.temperature:g}.")


def _save(conversation: Conversation, argument: str) -> None:
    if not argument:
        raise InputError("Say where: /save chat.jsonl (messages) or /save chat.md (to read)")
    path = Path(argument).expanduser()
    conversation.session.save(path)
    conversation.say(f"Saved to {path}.")


def _reset(conversation: Conversation, _: str) -> None:
    conversation.session.reset()
    conversation.say("The conversation is forgotten.")


def _quit(conversation: Conversation, _: str) -> None:
    conversation.is_over = True


def _tokens(conversation: Conversation, argument: str) -> None:
    session = conversation.session
    for speaker in SPEAKERS[session.mode]:
        show_tokens(conversation.console, speaker, session.prompt_tokens(speaker, argument or None))


COMMANDS: dict[str, Command] = {
    "base": Command("", "the base model answers", _switch("base")),
    "tuned": Command("", "the tuned model answers", _switch("tuned")),
    "both": Command("", "both answer, one after the other", _switch("both")),
    "system": Command("[TEXT]", "show or set the system prompt; 'default' for the run's own", _system),
    "temperature": Command("[X]", "show or set it; 0 takes the most probable token", _temperature),
    "tokens": Command("[TEXT]", "what the model saw last, or would see for TEXT, token by token", _tokens),
    "history": Command("", "the conversation so far", lambda c, _: show_history(c.console, c.session)),
    "save": Command("FILE", "save it: .jsonl (messages) or .md (to read)", _save),
    "reset": Command("", "forget the conversation", _reset),
    "help": Command("", "this list", lambda c, _: show_help(c.console, COMMANDS)),
    "quit": Command("", "end (Ctrl-D too); Ctrl-C stops an answer", _quit),
}


def answer_once(session: ChatSession, message: str, run: Path) -> Outcome:
    """Answer one message as it comes, and end; a single speaker's answer stands alone, without its name.

    Raises:
        InputError: The message is too long, or the template refuses it.
    """
    Conversation(session, stdout_console(), stderr_console()).answer(message, with_names=session.mode == "both")
    turn = turn_to_json(session.turns[-1]) if session.turns else {"answers": {}}
    return Outcome({"run": str(run), "message": message, "answers": turn["answers"]}, lambda _: None)


def converse(session: ChatSession) -> Outcome:
    """Read and answer until the end of the input."""
    conversation = Conversation(session, stdout_console(), stderr_console())
    is_asked = sys.stdin.isatty()
    if is_asked:
        _edit_lines()
        conversation.say(f"{session.name}: {' and '.join(SPEAKERS[session.mode])} answering. /help names the commands.")
    while not conversation.is_over:
        try:
            line = input("\n> ") if is_asked else _next_line()
        except EOFError:
            if is_asked:
                conversation.console.out("")
            break
        except KeyboardInterrupt:
            conversation.say("\nCtrl-D or /quit ends the chat.")
            continue
        conversation.take(line)
    return Outcome({"run": session.name, "turns": [turn_to_json(turn) for turn in session.turns]}, lambda _: None)


def _next_line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _edit_lines() -> None:
    """Arrow keys and history while typing, where Python was built with it."""
    try:
        import readline  # noqa: F401  # input() uses it once it is imported
    except ImportError:  # Windows
        return
