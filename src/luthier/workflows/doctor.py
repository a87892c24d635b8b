"""`luthier doctor`: what this machine and installation are, what works when it is run, and what can be trained here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from luthier.doctor.item import Item
from luthier.doctor.packages import installed_packages, mending_command, package_items
from luthier.reporter import Reporter, Silent
from luthier.workflows.trainable import Trainable, trainable_here

HOSTS = ("https://pypi.org/simple/pip/",)


@dataclass(frozen=True)
class DoctorResult:
    """What was found.

    Attributes:
        items: Facts with verdicts, then trials, in order.
        trainable: What can be trained here by the planner; None where the card is not known.
        trainable_fault: Why there is no such table; empty where there is.
        mend_packages: One command for all packages that failed; empty where none did.
    """

    items: tuple[Item, ...]
    trainable: Trainable | None
    trainable_fault: str
    mend_packages: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.of("failed")

    def of(self, status: str) -> list[Item]:
        """Items with a status."""
        return [item for item in self.items if item.status == status]

    @property
    def next_step(self) -> str:
        """The first thing that mends something, or what to do on a machine where all is well."""
        if self.mend_packages:
            return self.mend_packages
        if failed := self.of("failed"):
            return failed[0].mend
        return "luthier demo"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "passed": self.passed,
            "counts": dict(Counter(item.status for item in self.items)),
            "items": [item._asdict() for item in self.items],
            "trainable": self.trainable.to_json() if self.trainable else None,
            "trainable_fault": self.trainable_fault,
            "mend_packages": self.mend_packages,
            "next_step": self.next_step,
            "seconds": round(self.seconds, 2),
        }


def doctor(*, offline: bool = False, with_ranks: bool = False, reporter: Reporter | None = None) -> DoctorResult:
    """Look at the machine and run small things on it.

    Args:
        offline: Do not try to reach the network.
        with_ranks: Also start two processes that talk to each other (done in any case where there are several cards).
        reporter: Told of progress.
    """
    began = time.perf_counter()
    reporter = reporter or Silent()
    reporter.stage("Packages")
    installed = installed_packages()
    packages = package_items(metadata.requires("luthier") or (), installed)
    items = list(packages)
    items += _facts(offline, reporter)
    items += _trials(with_ranks, reporter)
    reporter.stage("What can be trained here")
    from luthier.errors import ResourceError

    trainable, fault = None, ""
    try:
        trainable = trainable_here()
    except ResourceError as error:  # a card that the table of devices does not have
        fault = str(error)
    return DoctorResult(tuple(items), trainable, fault, mending_command(packages), time.perf_counter() - began)


def _facts(offline: bool, reporter: Reporter) -> list[Item]:
    from luthier.doctor import checks, probe
    from luthier.errors import LuthierError

    def look(name: str, items: Callable[[], list[Item]]) -> list[Item]:
        reporter.stage(name)
        try:
            return items()
        except (OSError, RuntimeError, ImportError, LuthierError) as error:
            words = f"{type(error).__name__}: {error}"
            return [Item("machine", name.lower(), "failed", words, "Mend the packages above first, then ask again.")]

    items = look("Machine", lambda: [*checks.check_system(probe.look_at_system()), *_disks()])
    items += look("Cards", lambda: checks.check_accelerators(probe.look_at_accelerators(), _system()))
    if offline:
        items.append(Item("network", "hosts", "skipped", "not asked (--offline)"))
    else:
        hosts = (probe.hub_address(), *HOSTS)
        items += look("Network", lambda: checks.check_network([probe.reach(url) for url in hosts]))
    return items + look("Caches", lambda: checks.check_caches(probe.look_at_caches()))


def _system() -> str:
    import platform

    return platform.system()


def _disks() -> list[Item]:
    from luthier.doctor import checks, probe

    return checks.check_disks(probe.look_at_disks(Path("runs")))


def _trials(with_ranks: bool, reporter: Reporter) -> list[Item]:
    try:
        from luthier.doctor.trials import run_trial, trials
        from luthier.models.placement import choose_device
    except ImportError as error:
        return [Item("trials", "import", "failed", f"{error}", "Mend the packages above first, then ask again.")]
    items: list[Item] = []
    for trial in trials(choose_device("auto"), with_ranks=with_ranks):
        reporter.stage(f"Try {trial.name}")
        items.append(run_trial(trial))
    return items
