"""Who else answers in an evaluation, as it is typed: found, and named, before anything is loaded.

other-run                          the tuned model of another run, by its name or folder
my-run@best  my-run@last  my-run@120   a checkpoint that a run kept
model.gguf                         a GGUF file
folder, built-in name, hub id      any model; a folder with adapter_config.json is an adapter on this run's base
gpt-4o@https://api.openai.com/v1   a model behind an OpenAI-compatible endpoint
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from luthier.errors import InputError, LuthierError, RunError
from luthier.evaluation.contenders import TITLES, ContenderName
from luthier.generate.endpoint import Endpoint
from luthier.models.gguf_file import require_gguf
from luthier.runs.find import find_run
from luthier.runs.folder import RunFolder
from luthier.training.checkpoint import CheckpointStore, Saved

RivalKind = Literal["run", "checkpoint", "gguf", "adapter", "model", "endpoint"]
_ENDPOINT = re.compile(r"(?P<model>.+?)@(?P<url>https?://.+)")


@dataclass(frozen=True)
class Rival:
    """One that answers beside base and tuned model.

    Attributes:
        name: What it is called in results.
        typed: As it was typed.
        path: Of the run, file or folder.
        saved: The checkpoint of a run.
        model: Of an endpoint, as it names it; of a model, its name.
        url: Of an endpoint.
    """

    name: ContenderName
    kind: RivalKind
    typed: str
    path: Path | None = None
    saved: Saved | None = None
    model: str = ""
    url: str = ""

    @property
    def identity(self) -> str:
        """Of an endpoint, in journals: model and address."""
        return f"{self.model}@{self.url}"


def find_rivals(typed: Sequence[str]) -> list[Rival]:
    """All that are named.

    Raises:
        InputError: There is no such thing, or two would have one name.
    """
    rivals = [find_rival(text) for text in typed]
    names = [rival.name for rival in rivals]
    if twice := sorted({name for name in names if names.count(name) > 1 or name in TITLES}):
        raise InputError(
            f"--with: {', '.join(twice)} would name two contenders; results are kept by name. Rename the file or folder."
        )
    return rivals


def find_rival(typed: str) -> Rival:
    """One by what is typed; see the head of this file.

    Raises:
        InputError: There is no such thing.
    """
    if found := _ENDPOINT.fullmatch(typed):
        Endpoint(found["url"], found["model"])  # says what is wrong with the address
        return Rival(_name(found["model"]), "endpoint", typed, model=found["model"], url=found["url"])
    path = Path(typed).expanduser()
    if path.suffix.lower() == ".gguf":
        require_gguf(path)
        return Rival(_name(path.stem), "gguf", typed, path)
    run, at, which = typed.rpartition("@")
    if at and (folder := _run(run)) is not None:
        return Rival(f"{folder.name}@{which}", "checkpoint", typed, folder.path, _checkpoint(folder, which))
    if (folder := _run(typed)) is not None:
        return Rival(_name(folder.name), "run", typed, folder.path)
    if path.is_dir() and not (path / "config.json").is_file() and (path / "adapter_config.json").is_file():
        return Rival(_name(path.resolve().name), "adapter", typed, path)
    return _model(typed)


def _model(typed: str) -> Rival:
    from luthier.models.load import find_model

    try:
        find_model(typed)
    except LuthierError as error:
        raise InputError(
            f"--with {typed}: neither a run (RUN, RUN@best), nor a .gguf file, nor a model folder, nor an endpoint "
            f"(MODEL@http://…/v1). {error}"
        ) from error
    return Rival(_name(Path(typed).name), "model", typed, model=typed)


def _run(typed: str) -> RunFolder | None:
    try:
        return RunFolder.open(find_run(typed))
    except RunError:
        return None


def _checkpoint(folder: RunFolder, which: str) -> Saved:
    if not (folder / "checkpoints" / "index.json").is_file():
        raise InputError(f"{folder.name} has kept no checkpoint; its result is named {folder.typed}, without @{which}.")
    store = CheckpointStore(folder / "checkpoints")
    kept = {name: saved for name, saved in (("best", store.best), ("last", store.last)) if saved is not None}
    by_step = {str(saved.step): saved for saved in kept.values()}
    found = kept.get(which) or by_step.get(which)
    if found is None:
        known = ", ".join(f"{folder.name}@{name} (step {saved.step})" for name, saved in kept.items())
        raise InputError(f"{folder.name} has kept no checkpoint '{which}', but: {known}.")
    return found


def _name(text: str) -> ContenderName:
    """Letters, digits, dot, dash, underscore: it names columns and folders."""
    return re.sub(r"[^\w.-]+", "_", text).strip("_.") or "other"
