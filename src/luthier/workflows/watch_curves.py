"""Looks at the curves while they are made: what is seen for the first time is said, and diagnosis.json holds what is seen now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from luthier.reporter import Reporter
from luthier.runs.folder import RunFolder
from luthier.training.diagnosis import Diagnosis, Kind, diagnose
from luthier.training.preference_diagnosis import diagnose_preferences

FILE = "diagnosis.json"
NUM_LOOKS = 50
"""Looks between validations over the whole training: often enough to be in time, too seldom to cost anything."""


class CurveWatch:
    """Told of every record of metrics.jsonl.

    Args:
        records: Those that there are already, of a run that goes on.
    """

    def __init__(
        self,
        folder: RunFolder,
        reporter: Reporter,
        *,
        total_steps: int,
        max_grad_norm: float,
        records: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self._folder, self._reporter = folder, reporter
        self._total_steps, self._max_grad_norm = total_steps, max_grad_norm
        self._records = list(records)
        self._every_steps = max(10, total_steps // NUM_LOOKS)
        self._said: set[Kind] = set()
        self.found: list[Diagnosis] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """Take note, and look from time to time."""
        self._records.append(record)
        if record["kind"] == "validation" or record["step"] % self._every_steps == 0:
            self.look()

    def look(self) -> None:
        """Diagnose what there is; write it down, and say what is new."""
        curves = diagnose(self._records, total_steps=self._total_steps, max_grad_norm=self._max_grad_norm)
        self.found = [*curves, *diagnose_preferences(self._records)]
        self._folder.write_json(FILE, [diagnosis.to_json() for diagnosis in self.found])
        for diagnosis in self.found:
            if diagnosis.kind not in self._said:
                self._said.add(diagnosis.kind)
                self._reporter.say(f"{diagnosis.message} {diagnosis.advice}", "warning")


def read_diagnosis(folder: RunFolder) -> list[Diagnosis]:
    """What was seen last; empty where nothing was looked at."""
    return [Diagnosis(**record) for record in folder.read_json(FILE) or []]
