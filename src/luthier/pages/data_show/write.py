"""Writes the page of one row token by token. Style, script and the drawing of tokens are the report's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier import __version__
from luthier.errors import InputError
from luthier.pages.page import render_page
from luthier.pages.report.tokens import token_row_view
from luthier.runs.atomic import write_text

HERE = Path(__file__).parent
REPORT = HERE.parent / "report"


def write_data_show(path: Path, title: str, facts: Mapping[str, str], examples: Sequence[Mapping[str, Any]]) -> None:
    """Write the page.

    Args:
        path: The file.
        title: What the row is called.
        facts: Name → value, shown under the title.
        examples: As `data.token_view.TokenRow.to_json` gives them.

    Raises:
        InputError: There is no folder to write it to.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"{path} cannot be written: name a file in a folder that exists.")
    view = {
        "title": title,
        "facts": facts,
        "rows": [token_row_view(example) for example in examples],
        "version": __version__,
    }
    page = render_page(
        "data_show.html.j2",
        view,
        folders=[HERE, REPORT],
        styles=[REPORT / "report.css", HERE / "data_show.css"],
        script=REPORT / "report.js",
    )
    write_text(path, page)
