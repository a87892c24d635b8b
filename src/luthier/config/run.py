"""Where everything a run knows is kept."""

from __future__ import annotations

from pydantic import Field

from luthier.config.section import Section


class RunSection(Section):
    """The run folder."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; its folder is `folder`/`name`. Letters, digits, dot, dash, underscore."""

    folder: str = "runs"
    """Folder that holds all runs. Relative paths start at the current folder."""
