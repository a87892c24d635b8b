"""Where everything a run knows is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from luthier.config.section import Section

SinkName = Literal["trackio", "wandb", "tensorboard", "mlflow"]


def _one_is_a_list_of_one(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class RunSection(Section):
    """The run folder, and who else is told of the run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; its folder is `folder`/`name`. Letters, digits, dot, dash, underscore."""

    folder: str = "runs"
    """Folder that holds all runs. Relative paths start at the current folder."""

    sinks: Annotated[
        tuple[SinkName, ...],
        BeforeValidator(_one_is_a_list_of_one, json_schema_input_type=SinkName | tuple[SinkName, ...]),
    ] = ()
    """Where metrics go beside metrics.jsonl: trackio, wandb (WANDB_MODE=offline needs no account), tensorboard, mlflow; one or
    a list. Each is an extra: pip install 'luthier[wandb]'."""

    @property
    def path(self) -> Path:
        """The run folder."""
        return Path(self.folder).expanduser() / self.name
