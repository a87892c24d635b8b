"""The page of `luthier serve`: a conversation with one model, or with two side by side."""

from __future__ import annotations

from pathlib import Path

from luthier import __version__
from luthier.pages.page import render_page

HERE = Path(__file__).parent
REPORT = HERE.parent / "report"


def chat_page() -> str:
    """The page; it asks the server that it came from, and nobody else."""
    return render_page(
        "chat.html.j2",
        {"version": __version__},
        folders=[HERE],
        styles=[REPORT / "report.css", HERE / "chat.css"],
        script=HERE / "chat.js",
        talks_to_server=True,
    )
