"""Lays out what a check of data found and writes its page. Style and script are the report's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from luthier import __version__
from luthier.data.lint.diversity import Diversity
from luthier.errors import InputError
from luthier.pages.page import render_page
from luthier.runs.atomic import write_text
from luthier.runs.manifest import now
from luthier.types import Finding

HERE = Path(__file__).parent
REPORT = HERE.parent / "report"


class CheckedFile(Protocol):
    """A file as the page shows it."""

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def num_rows(self) -> int: ...  # noqa: D102
    @property
    def why(self) -> str: ...  # noqa: D102


class NotRun(Protocol):
    """A rule that was not asked, and why."""

    @property
    def rule(self) -> str: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102


class Result(Protocol):
    """What `workflows.data_check` hands back."""

    @property
    def files(self) -> Sequence[CheckedFile]: ...  # noqa: D102
    @property
    def num_rows(self) -> int: ...  # noqa: D102
    @property
    def rules(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def not_run(self) -> Sequence[NotRun]: ...  # noqa: D102
    @property
    def diversity(self) -> Sequence[Diversity]: ...  # noqa: D102
    @property
    def findings(self) -> Sequence[Finding]: ...  # noqa: D102
    @property
    def passed(self) -> bool: ...  # noqa: D102
    @property
    def counts(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def verdict(self) -> str: ...  # noqa: D102


def write_data_check(path: Path, result: Result) -> None:
    """Write the page.

    Raises:
        InputError: There is no folder to write it to.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"{path} cannot be written: name a file in a folder that exists.")
    view = {
        "names": [Path(file.path).name for file in result.files],
        "files": result.files,
        "num_rows": f"{result.num_rows:,}",
        "rules": result.rules,
        "not_run": result.not_run,
        "diversity": result.diversity,
        "findings": result.findings,
        "counts": result.counts,
        "verdict": result.verdict,
        "tone": "bad" if not result.passed else "" if result.counts["warning"] else "good",
        "version": __version__,
        "written_at": now().replace("T", " ").replace("+00:00", " UTC"),
    }
    page = render_page(
        "data_check.html.j2",
        view,
        folders=[HERE, REPORT],
        styles=[REPORT / "report.css", HERE / "data_check.css"],
        script=REPORT / "report.js",
    )
    write_text(path, page)
