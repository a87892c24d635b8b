"""Sinks for metrics beside metrics.jsonl, by name: trackio, wandb, tensorboard, mlflow. metrics.jsonl stays the truth.

A sink that is missing or cannot start stops the run before its first step, because that is easily put right. One that fails
later is switched off with one warning: no training is lost for its sake.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from luthier.errors import InputError, LuthierError, MissingExtraError
from luthier.reporter import Reporter

PROJECT = "luthier"


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a sink is told about a run.

    Attributes:
        id: The same after a resume, another for another run of the same name.
        folder: The run folder; sinks that write files write them into it, or beside it.
        settings: The recipe, one value per dotted name.
        start_step: Steps made before; what a sink holds beyond them will be made again.
    """

    name: str
    id: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    start_step: int = 0


class Tracker(Protocol):
    """A sink that has been started."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Take figures by name, e.g. ``train/loss``."""
        ...

    def close(self) -> None:
        """Write what is still held back."""
        ...


class Trackio:
    """Local by default, in the user's cache (TRACKIO_DIR); look with ``trackio show``."""

    def __init__(self, run: TrackedRun) -> None:
        import trackio

        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # it greets on stdout
            self._run = trackio.init(
                project=PROJECT, name=run.id, config=dict(run.settings), resume="allow", embed=False, auto_log_gpu=False
            )

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Pass on."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Write out and end."""
        import trackio

        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            trackio.finish()  # not the run's own: this one also tells trackio that nothing is left to do at exit


class Wandb:
    """Obeys wandb's own variables; WANDB_MODE=offline writes into the run folder and needs no account."""

    def __init__(self, run: TrackedRun) -> None:
        import wandb  # pyright: ignore[reportMissingImports] - an extra

        is_online = os.environ.get("WANDB_MODE", "online") == "online"
        if is_online and not wandb.login(prompt=False):
            raise InputError("wandb knows no account on this machine. Run 'wandb login', or set WANDB_MODE=offline.")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=run.id,
            resume="allow" if is_online else None,
            dir=str(run.folder),
            config=dict(run.settings),
            settings=wandb.Settings(console="off", silent=True),
        )

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Pass on."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Write out and end."""
        self._run.finish()


class TensorBoard:
    """Event files in the run folder; look with ``tensorboard --logdir runs``."""

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = run.start_step + 1 if run.start_step else None
        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=purge, flush_secs=10)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Pass on."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out and end."""
        self._writer.close()


class Mlflow:
    """Where MLFLOW_TRACKING_URI says, else files in ``mlruns`` beside the run folders.

    mlflow-skinny has no database; for plain files mlflow wants to be told that they are meant.
    """

    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports] - an extra

        place = os.environ.get("MLFLOW_TRACKING_URI") or (run.folder.absolute().parent / "mlruns").as_uri()
        self._client = MlflowClient(tracking_uri=place)
        experiment = self._client.get_experiment_by_name(PROJECT)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(PROJECT)
        known = self._client.search_runs([experiment_id], filter_string=f"tags.luthier_id = '{run.id}'")
        if known:
            self._id = known[0].info.run_id
            return
        self._id = self._client.create_run(experiment_id, run_name=run.name, tags={"luthier_id": run.id}).info.run_id
        for name, value in run.settings.items():
            self._client.log_param(self._id, name, value)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Pass on."""
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports] - an extra

        now = int(time.time() * 1000)
        self._client.log_batch(self._id, metrics=[Metric(n, v, now, step) for n, v in metrics.items()])

    def close(self) -> None:
        """Write out and end."""
        self._client.set_terminated(self._id)


class Sink(NamedTuple):
    """How a sink is named, in pip and in Python, and how it is started."""

    package: str
    module: str
    start: Callable[[TrackedRun], Tracker]


SINKS: dict[str, Sink] = {
    "trackio": Sink("trackio", "trackio", Trackio),
    "wandb": Sink("wandb", "wandb", Wandb),
    "tensorboard": Sink("tensorboard", "tensorboard", TensorBoard),
    "mlflow": Sink("mlflow-skinny", "mlflow", Mlflow),
}


def require_sinks(names: Sequence[str]) -> None:
    """Refuse sinks whose package is absent; nothing is imported.

    Raises:
        MissingExtraError: Naming the extra that brings it.
    """
    for name in names:
        if find_spec(SINKS[name].module) is None:
            raise MissingExtraError(SINKS[name].package, name, f"The sink {name} (run.sinks)")


class Trackers:
    """All sinks of a run as one; with none, nothing happens."""

    def __init__(self, reporter: Reporter) -> None:
        self._trackers: dict[str, Tracker] = {}
        self._reporter = reporter

    def add(self, name: str, tracker: Tracker) -> None:
        """Take in one more sink."""
        self._trackers[name] = tracker

    def log(self, record: Mapping[str, Any]) -> None:
        """Take a line of metrics.jsonl: its finite numbers, as ``kind/name``, at its step."""
        metrics = {
            f"{record['kind']}/{name}": float(value)
            for name, value in record.items()
            if name not in ("kind", "step")
            and isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
        }
        for name in list(self._trackers):
            self._try(name, lambda tracker: tracker.log(metrics, int(record["step"])))

    def close(self) -> None:
        """Let every sink write what it holds back."""
        for name in list(self._trackers):
            self._try(name, lambda tracker: tracker.close())
            self._trackers.pop(name, None)

    def _try(self, name: str, use: Callable[[Tracker], None]) -> None:
        try:
            use(self._trackers[name])
        except Exception as error:  # whatever a sink raises, the training is worth more
            del self._trackers[name]
            self._reporter.say(
                f"The sink {name} failed ({type(error).__name__}: {error}) and is switched off; the training goes on, and "
                "metrics.jsonl holds everything.",
                "warning",
            )


@contextmanager
def open_trackers(names: Sequence[str], run: TrackedRun, reporter: Reporter) -> Iterator[Trackers]:
    """Start sinks by name; they are closed at the end, whatever happens inside.

    Raises:
        MissingExtraError: A package is absent.
        InputError: A sink could not start.
    """
    require_sinks(names)
    trackers = Trackers(reporter)
    try:
        for name in names:
            trackers.add(name, _start(name, run))
        yield trackers
    finally:
        trackers.close()


def _start(name: str, run: TrackedRun) -> Tracker:
    try:
        return SINKS[name].start(run)
    except LuthierError:
        raise
    except Exception as error:
        raise InputError(
            f"The sink {name} cannot start ({type(error).__name__}: {error}). Put that right, or leave it out of run.sinks."
        ) from error
