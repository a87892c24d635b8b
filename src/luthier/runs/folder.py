"""One run = one folder. Names of all files in it, and safe ways to write them. Readable without Luthier.

runs/<name>/
  run.json              status, times, verdict, which checkpoint is the result (see `manifest.py`)
  recipe.yaml           the recipe as given
  recipe.resolved.yaml  every value, with where it came from
  environment.json      versions, machine, command
  data.json             files, hashes, counts, what was dropped and why
  token_view.json       a few training rows, token by token: text, id, learnt or not
  plan.json, fit.json   planned memory; how steps are cut to it: tokens at once, what layers keep
  contract.json         template, system prompt, stop tokens, sampling: how the model is to be used
  metrics.jsonl         one line per step or validation
  checks.jsonl          one line per check
  diagnosis.json        what the curves show, in words
  samples.jsonl         answers of base and tuned model to the same prompts
  base_answers.json     those of the base model, made before the training; a resume needs them
  samples_over_time.jsonl  answers to a few fixed prompts at each validation
  checkpoints/          `index.json` and the folders that it names (last, best)
  adapter/ or model/    the result, in PEFT or Hugging Face layout
  evaluation/           one folder per evaluation
  exports/              one folder per export, each with its export.json
  report.html           all of it for people
  log.txt               what was said
  process.json          which process trains it, or did
  output.log            what a detached process wrote on its streams; result.json: its result or error
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from luthier.errors import ResourceError, RunError
from luthier.runs.atomic import write_json, write_text
from luthier.types import Check

LISTED_RUNS = 10


class RunFolder:
    """An existing run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False) -> RunFolder:
        """Make a new run folder.

        Raises:
            RunError: The name is taken (and `overwrite` is off), or `overwrite` would delete something that is no run.
            ResourceError: The place cannot be written.
        """
        if path.exists():
            if not overwrite:
                raise RunError(
                    f"A run named '{path.name}' exists already in {path.parent}. "
                    "Choose another run.name, or pass --overwrite to replace it."
                )
            if any(path.iterdir()) and not (path / "run.json").is_file():
                raise RunError(f"{path} holds no run.json, so it is not a run of Luthier and will not be overwritten.")
            shutil.rmtree(path)
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise ResourceError(
                f"The run folder {path} cannot be made: {error.strerror}. Choose another run.folder."
            ) from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a finished or interrupted run.

        Raises:
            RunError: There is no run at `path`; names the runs that are beside it.
        """
        if (path / "run.json").is_file():
            return cls(path)
        beside = {p.parent.name: p.stat().st_mtime for p in path.parent.glob("*/run.json")}
        newest = sorted(beside, key=lambda name: -beside[name])
        near = get_close_matches(path.name, newest, n=1)
        more = f" and {len(newest) - LISTED_RUNS} more" if len(newest) > LISTED_RUNS else ""
        known = (
            f"Did you mean '{near[0]}'? " if near else ""
        ) + f"Runs there, newest first: {', '.join(newest[:LISTED_RUNS])}{more}."
        raise RunError(f"No run at {path}. {known if newest else f'There are no runs in {path.parent}.'}")

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self.path.name

    @property
    def typed(self) -> str:
        """What to type for it on the command line: its name where it lies in ./runs, else its path."""
        is_here = self.path.absolute().parent == Path("runs").absolute()
        return self.name if is_here else shlex.quote(str(self.path))

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file of the folder at once."""
        write_json(self.path / name, content)

    def write_text(self, name: str, content: str) -> None:
        """Write a text file of the folder at once."""
        write_text(self.path / name, content)

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the folder; None where it is absent.

        Raises:
            RunError: The file is there but not JSON.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise RunError(f"{path} is not valid JSON ({error}). The run folder is damaged.") from error

    def append_line(self, name: str, record: Mapping[str, Any]) -> None:
        """Append one JSON line; a line is written whole or, after a crash, cut off at the file's very end."""
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def read_lines(self, name: str) -> Iterator[dict[str, Any]]:
        """Lines of a JSON-lines file, none where it is absent; a last line cut off by a crash is left out."""
        path = self.path / name
        if not path.is_file():
            return
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)

    def record_checks(self, checks: list[Check]) -> None:
        """Append to checks.jsonl."""
        for check in checks:
            self.append_line("checks.jsonl", check.to_json())

    def checks(self) -> list[Check]:
        """All checks; where one was made again (after a resume) the later verdict stands."""
        latest: dict[str, Check] = {}
        for record in self.read_lines("checks.jsonl"):
            latest[record["name"]] = Check(**record)
        return list(latest.values())
