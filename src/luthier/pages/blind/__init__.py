"""The page of `luthier blind`: two answers side by side; served as `pages.data_review` is."""

from __future__ import annotations

from pathlib import Path

from luthier import __version__
from luthier.pages.page import render_page

HERE = Path(__file__).parent
REPORT = HERE.parent / "report"


def blind_page(title: str) -> str:
    """The page; it asks its server for everything else."""
    return render_page(
        "blind.html.j2",
        {"title": title, "version": __version__},
        folders=[HERE],
        styles=[REPORT / "report.css", HERE / "blind.css"],
        script=HERE / "blind.js",
        talks_to_server=True,
    )
