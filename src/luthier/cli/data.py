"""`luthier data`: from any file to data worth training on. A table of sub-commands; only the chosen one's module is imported."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class SubCommand(NamedTuple):
    """Where a sub-command lives (`luthier.cli.data_<name>`, a function of that name), and what it does in one line."""

    module: str
    help: str


COMMANDS: dict[str, SubCommand] = {
    "inspect": SubCommand(
        "luthier.cli.data_inspect", "Format, columns, rows, token lengths, what each max_length costs."
    ),
    "show": SubCommand("luthier.cli.data_show", "One row token by token: what is learnt and what is only read."),
    "check": SubCommand("luthier.cli.data_check", "What is wrong with data, and what to do about it."),
    "rules": SubCommand("luthier.cli.data_rules", "What check looks for, rule by rule."),
    "clean": SubCommand("luthier.cli.data_clean", "Rows repaired by rule, with a ledger; nothing is lost."),
    "undo": SubCommand("luthier.cli.data_undo", "The rows as they were before clean or redact --ledger."),
    "review": SubCommand("luthier.cli.data_review", "A sample of rows to keep, drop or fix in the browser."),
    "apply": SubCommand("luthier.cli.data_apply", "What was decided in a review, done."),
    "convert": SubCommand("luthier.cli.data_convert", "Rows in another layout, and what that cannot say."),
    "split": SubCommand("luthier.cli.data_split", "Rows to learn from and rows to hold out, without leaks."),
    "dedup": SubCommand("luthier.cli.data_dedup", "Rows without equal or nearly equal ones."),
    "mix": SubCommand("luthier.cli.data_mix", "One file from several, by shares or numbers of rows."),
    "redact": SubCommand("luthier.cli.data_redact", "Rows without personal data and secrets."),
    "decontaminate": SubCommand("luthier.cli.data_decontaminate", "Rows without those that evaluation sets have too."),
    "generate": SubCommand("luthier.cli.data_generate", "Examples from documents, tables, rows or prompts."),
    "find": SubCommand("luthier.cli.data_find", "Data sets of the Hugging Face hub: size, licence, columns."),
}


class LazyGroup(TyperGroup):
    """Knows the names of its sub-commands, and imports one when it is asked for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.commands.update({name: TyperCommand(name, help=entry.help) for name, entry in COMMANDS.items()})
        self._loaded: dict[str, Any] = {}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or None."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self._loaded:
            module, help = COMMANDS[cmd_name]
            single = typer.Typer(add_completion=False)
            single.command(cmd_name, short_help=help, epilog=self.commands[cmd_name].epilog)(
                getattr(import_module(module), cmd_name)
            )
            self._loaded[cmd_name] = typer.main.get_command(single)
        return self._loaded[cmd_name]


app = typer.Typer(cls=LazyGroup, add_completion=False, help="Look at data, repair and reshape them before training.")


@app.callback()
def data() -> None:
    """Look at data, repair and reshape them before training."""
