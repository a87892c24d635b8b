"""What real steps on a device did, kept in the cache and used by later plans. Measuring is `luthier.workflows.calibrate`'s work.

A rate holds for a device, a compute type and a kind of parameters; the model's size changes it less than those do, and where
there are several the one of the nearest size is taken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from luthier.errors import ResourceError
from luthier.plan.job import Compute, ParametersKind
from luthier.runs.atomic import write_json


@dataclass(frozen=True)
class Calibration:
    """A measurement.

    Attributes:
        device: Name of the device in the table.
        num_parameters: Of the model that was trained.
        flops_per_second: Operations of a step, as `flops` counts them, by the seconds it took (median, the first steps left out).
        tokens_per_second: The same in tokens.
        peak_bytes: Highest memory (CPU: beyond the process's imports).
        planned_bytes: What the plan said.
        steps: Steps that were measured.
        date: Day of the measurement.
    """

    device: str
    compute: Compute
    parameters: ParametersKind
    num_parameters: int
    flops_per_second: float
    tokens_per_second: float
    peak_bytes: float
    planned_bytes: float
    steps: int
    date: str
    versions: str = ""

    @property
    def file_name(self) -> str:
        """One file per device, compute type, kind and model size."""
        return f"{self.device}-{self.compute}-{self.parameters}-{self.num_parameters}.json".replace("/", "-")


def keep_calibration(folder: Path, calibration: Calibration) -> Path:
    """Write it into `folder`; an older one of the same kind is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / calibration.file_name
    write_json(path, asdict(calibration))
    return path


def load_calibrations(folder: Path) -> tuple[Calibration, ...]:
    """All that were kept.

    Raises:
        ResourceError: A file cannot be read; says which one to delete.
    """
    found: list[Calibration] = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            found.append(Calibration(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError) as error:
            raise ResourceError(
                f"The calibration {path} cannot be read ({error}). Delete it and calibrate again."
            ) from error
    return tuple(found)


def choose_calibration(
    known: Sequence[Calibration], device: str, compute: Compute, parameters: ParametersKind, num_parameters: int
) -> Calibration | None:
    """The one for this device, type and kind whose model is nearest in size; None where there is none."""
    fitting = [c for c in known if (c.device, c.compute, c.parameters) == (device, compute, parameters)]
    return min(fitting, key=lambda c: abs(c.num_parameters / num_parameters - 1), default=None)
