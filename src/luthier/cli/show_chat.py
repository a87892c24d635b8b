"""How a conversation looks: turns, history, the prompt as tokens, the list of commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from luthier.workflows.chat import ChatSession, PromptToken

SPEAKER_STYLES = {"base": "yellow", "tuned": "green"}
# Two shades of each part alternate, so that one sees where a token ends.
TOKEN_STYLES = {
    "control": ("bold magenta", "bold magenta"),
    "prompt": ("black on cyan", "black on bright_cyan"),
    "answer": ("black on green", "black on bright_green"),
}


def show_history(console: Console, session: ChatSession) -> None:
    """All turns."""
    if session.system is not None:
        console.print(Text.assemble(("system: ", "bold"), session.system), soft_wrap=True)
    if not session.turns:
        console.print(Text("Nothing has been said yet.", style="dim"))
    for turn in session.turns:
        console.print(Text.assemble(("you: ", "bold"), turn.message), soft_wrap=True)
        for speaker, answer in turn.answers.items():
            end = "" if answer.ended_by == "stop" else f" [{answer.ended_by}]"
            console.print(
                Text.assemble((f"{speaker}: ", f"bold {SPEAKER_STYLES[speaker]}"), answer.text, (end, "dim")),
                soft_wrap=True,
            )


def show_tokens(console: Console, speaker: str, tokens: Sequence[PromptToken]) -> None:
    """Each token with its id; line breaks are shown as ⏎ and also made. Without colours tokens stand in bars."""
    num_answer = sum(token.part == "answer" for token in tokens)
    console.print(Text(f"{speaker}: {len(tokens) - num_answer} tokens of prompt, {num_answer} of answer", style="bold"))
    has_colour = console.color_system is not None and not console.no_color
    line = Text()
    for index, token in enumerate(tokens):
        shown = token.text.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍")
        if has_colour:
            line.append(shown, style=TOKEN_STYLES[token.part][index % 2])
            line.append(f"{token.id} ", style="dim")
        else:
            line.append(f"|{shown}|{token.id} ")
        if token.text.endswith("\n"):
            console.print(line)
            line = Text()
    if line:
        console.print(line)


def show_help(console: Console, commands: Mapping[str, Any]) -> None:
    """Name, argument and meaning of each command."""
    table = Table.grid(padding=(0, 2))
    for name, command in commands.items():
        table.add_row(Text(f"/{name} {command.argument}".rstrip(), style="bold"), command.help)
    console.print(Padding(table, (0, 0, 0, 2)))
    console.print(
        Text(
            "Each speaker remembers its own answers; a turn that one alone answered is remembered by both.", style="dim"
        )
    )
