"""Before an endpoint is asked, and perhaps paid: a person says yes, here or with --yes."""

from __future__ import annotations

import sys

import typer

from luthier.cli.dispatch import Wish
from luthier.errors import InputError


def confirm_asking(wish: Wish | None, instead: str = "") -> None:
    """Ask whether the endpoint may be asked.

    Args:
        wish: Of the command line; with --json nobody is asked.
        instead: What else to type, beside --yes.

    Raises:
        InputError: It may not, or there is nobody to say so.
    """
    is_asked = sys.stdin.isatty() and sys.stderr.isatty() and not (wish and wish.wants_json)
    if not is_asked:
        raise InputError(f"Nothing was asked yet: add --yes to ask the endpoint without a question here{instead}.")
    if not typer.confirm("Ask the endpoint?", err=True):
        raise InputError("Nothing was asked.")
