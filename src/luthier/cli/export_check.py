"""`luthier export --check`: an earlier export, verified again."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter


class Upload(NamedTuple):
    """What --push, --public and --yes say together."""

    repo_id: str
    private: bool
    really: bool


def check_again(folder: Path, run: Path | None, upload: Upload | None) -> Outcome:
    """Verify the export in `folder`, and upload it where that was asked for and it passed."""
    from luthier.workflows.export import check_export
    from luthier.workflows.push_export import push_export

    with terminal_reporter() as reporter:
        result = check_export(folder, run=run, reporter=reporter)
        pushed = push_export(folder, *upload, reporter=reporter) if upload is not None and result.passed else None

    def show(console: Console) -> None:
        from luthier.cli.show_export import show_check

        show_check(console, result, pushed)

    content = result.to_json() | ({} if pushed is None else {"push": pushed.to_json()})
    return Outcome(content, show, exit_code=0 if result.passed else 1)
