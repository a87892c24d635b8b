"""`luthier data redact`: rows without personal data and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from luthier.cli.columns import Columns, Format, read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.errors import InputError

if TYPE_CHECKING:
    from luthier.workflows.data_redact import RedactResult


def redact(
    source: Annotated[str, typer.Argument(metavar="IN", help="Data file, folder or pattern; never changed.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write: .jsonl or .json, also with .gz. Never overwritten.")
    ],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help="email, iban, card, national_id, ip, phone, address, secret, possible_secret; several times; else all.",
            show_default=False,
        ),
    ] = None,
    style: Annotated[
        str,
        typer.Option(
            "--style", help="tag: [EMAIL_1]; mask: ****@***; fake: person1@example.com; hash: [EMAIL_5f0c3a91]."
        ),
    ] = "tag",
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file", help="Any file: with the same one, hashes are the same in all data.", show_default=False
        ),
    ] = None,
    all_columns: Annotated[
        bool, typer.Option("--all-columns", help="Also in columns that the layout does not read.")
    ] = False,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Write OUT.ledger.jsonl to undo it. It HOLDS the values: keep it secret.")
    ] = False,
    format: Format = "auto",
    column: Columns = None,
) -> Outcome:
    """Replace personal data and secrets. Equal values get equal replacements; accounts, cards and ids need a right check digit.

    Names of persons are not looked for. Fakes are nobody's: example.com, 555-01xx, addresses of documentation, zeros.
    """
    columns = read_columns(column)
    if key_file is not None and style != "hash":
        raise InputError(f"--key-file is for --style hash; the style is {style}.")

    from luthier.workflows.data_redact import data_redact, read_key

    with terminal_reporter() as reporter:
        result = data_redact(
            [source],
            out,
            kinds=kind,
            style=style,  # pyright: ignore[reportArgumentType]  # the workflow checks it
            key=read_key(key_file),
            all_columns=all_columns,
            write_ledger=ledger,
            format=format,
            columns=columns,
            reporter=reporter,
        )
    return Outcome(result.to_json(), lambda console: _show(console, result))


def _show(console: Console, result: RedactResult) -> None:
    console.print(f"{result.path}: {result.num_changed:,} of {result.num_rows:,} rows changed", soft_wrap=True)
    for name, count in result.counts.items():
        console.print(f"  {count:>7,}  {name}")
    if not result.counts:
        console.print("  nothing was found")
    if result.num_tags_for_fakes:
        console.print(f"  {result.num_tags_for_fakes:,} places have a tag: no fake was left or safe", soft_wrap=True)
    for name, kinds in result.elsewhere.items():
        found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        console.print(
            f"  left in column '{name}', which is not read: {found} (--all-columns replaces them)", soft_wrap=True
        )
    if result.ledger:
        console.print(f"{result.ledger}: what was replaced, with the values; keep it secret", soft_wrap=True)
    console.print(f"Next: luthier data check {result.path}", soft_wrap=True)
