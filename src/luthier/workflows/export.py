"""`luthier export`: a run's result as files for other programs, each verified before it takes its name."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from luthier import __version__
from luthier.errors import CheckFailedError, InputError
from luthier.export.aside import refuse_existing, require_disk, written_aside
from luthier.export.card import model_card
from luthier.export.changes import StoredInNf4
from luthier.export.combine import Combination
from luthier.export.format import FormatPlan, Usage, Verified
from luthier.export.formats import FORMATS, KEEPS_DTYPE, Target, parse_targets
from luthier.export.memory import require_memory
from luthier.export.qlora import measure_candidates
from luthier.export.record import ExportRecord, files_unchanged, hash_folder
from luthier.export.subject import Live, Subject
from luthier.reporter import Reporter, Silent
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import now
from luthier.types import Check
from luthier.units import format_bytes
from luthier.workflows.export_subject import OtherRun, open_subject, read_probes, was_nf4


@dataclass(frozen=True)
class Exported:
    """One export.

    Attributes:
        folder: Where it lies.
        sentences: Its figures in words.
    """

    format: str
    type: str
    folder: Path
    num_bytes: int
    checks: tuple[Check, ...]
    figures: Mapping[str, Any]
    sentences: tuple[str, ...]
    usage: Usage
    verified: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "format": self.format,
            "type": self.type,
            "folder": str(self.folder),
            "bytes": self.num_bytes,
            "verified": self.verified,
            "checks": [check.to_json() for check in self.checks],
            "figures": dict(self.figures),
            "next": self.usage.command,
        }


@dataclass(frozen=True)
class ExportResult:
    """All exports of one command."""

    run: Path
    exports: tuple[Exported, ...]
    seconds: float
    notes: tuple[str, ...] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "run": str(self.run),
            "seconds": round(self.seconds, 2),
            "exports": [each.to_json() for each in self.exports],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class _Job:
    target: Target
    plan: FormatPlan
    folder: Path


def export(
    run: Path,
    *,
    to: Sequence[str],
    types: Sequence[str] = (),
    out: Path | None = None,
    dtype: str | None = None,
    others: Sequence[OtherRun] = (),
    combination: Combination | None = None,
    force: bool = False,
    verify: bool = True,
    reporter: Reporter | None = None,
) -> ExportResult:
    """Plan all exports, then write and verify one after the other.

    Args:
        run: Path of a finished run.
        to: Names of formats.
        types: Number formats or quantisations, for the formats that have them.
        out: The folder of the export, or of the exports where there are several; None for ``exports/`` of the run.
        dtype: Of merged weights: bf16, fp16 or fp32; None keeps the base's.
        others: Further runs whose adapters are merged too.
        combination: How they become one change; its first weight is that of `run`.
        force: Replace earlier exports.
        verify: Compare with the live model; without, only what needs no forward pass is checked, and the record says so.
        reporter: Told of progress.

    Raises:
        InputError: A format, type, run or target cannot be used; nothing was written.
        ResourceError: The disk is too small; nothing was written.
        CheckFailedError: An export is not what was trained; it was removed.
    """
    began = time.perf_counter()
    reporter = reporter or Silent()
    targets = parse_targets(to, types)
    if dtype is not None and not any(target.format.name in KEEPS_DTYPE for target in targets):
        raise InputError(f"--dtype is for {', '.join(KEEPS_DTYPE)}; other formats have types: --type.")
    reporter.stage("Plan the export")
    subject, recipe = open_subject(run, others=others, combination=combination, dtype=dtype, reporter=reporter)
    jobs = _plan(subject, targets, out, force, reporter)
    live: Live | None = None
    if verify:
        require_memory(subject.weights.num_parameters)
        rows, conversations = read_probes(RunFolder(subject.run), recipe, subject.template, reporter)
        live = Live(subject, rows, conversations, reporter)
    if was_nf4(recipe):
        again = partial(open_subject, run, others=others, combination=combination, dtype=dtype, reporter=reporter)
        subject = _on_better_base(subject, again(onto_nf4=True)[0], live, reporter)
        jobs = [_Job(j.target, j.target.format.plan(subject, j.plan.type), j.folder) for j in jobs]
    done = tuple(_export(subject, job, live, reporter) for job in jobs)
    notes = tuple(note for job in jobs for note in job.plan.notes)
    return ExportResult(subject.run, done, time.perf_counter() - began, notes)


def _on_better_base(own: Subject, nf4: Subject, live: Live | None, reporter: Reporter) -> Subject:
    """The subject whose merge is nearer to the live model; unmeasured, the one that the adapter was trained beside."""
    if live is None or not live.rows:
        reporter.say(
            "Trained beside an NF4 base; merged into what its numbers stand for, without a comparison.", "warning"
        )
        return nf4
    reporter.stage("Compare both bases that the adapter could be merged into")
    candidates = measure_candidates(live, own, nf4)
    reporter.say(candidates.sentence())
    chosen = nf4 if candidates.takes_nf4 else own
    chosen.card["limits"].append(candidates.sentence())
    chosen.card["candidates"] = candidates.to_json()
    return chosen


def _plan(subject: Subject, targets: Sequence[Target], out: Path | None, force: bool, reporter: Reporter) -> list[_Job]:
    jobs: list[_Job] = []
    for target in targets:
        plan = target.format.plan(subject, target.type)
        folder = subject.run / "exports" / plan.folder_name
        if out is not None:
            folder = out if len(targets) == 1 else out / plan.folder_name
        refuse_existing(folder, force=force)
        jobs.append(_Job(target, plan, folder))
    require_disk(jobs[0].folder, sum(job.plan.num_bytes for job in jobs))
    for job in jobs:
        size = format_bytes(sum(file.num_bytes for file in job.plan.files))
        names = ", ".join(file.name for file in job.plan.files[:3]) + (", …" if len(job.plan.files) > 3 else "")
        reporter.say(f"{job.plan.folder_name}: {names} ({size}) → {job.folder}")
        for note in job.plan.notes:
            reporter.say(note, "warning")
    return jobs


def _export(subject: Subject, job: _Job, live: Live | None, reporter: Reporter) -> Exported:
    form, plan = job.target.format, job.plan
    total = sum(file.num_bytes for file in plan.files)
    written = 0

    def advance(num_bytes: int) -> None:
        nonlocal written
        written += num_bytes
        reporter.progress("write", min(written, total) / 1e6, total / 1e6, {"unit": "MB"})

    with written_aside(job.folder) as aside:
        reporter.stage(f"Write {plan.folder_name}")
        form.write(subject, plan, aside, advance)
        reporter.stage(f"Verify {plan.folder_name}")
        verified = form.verify(subject, plan, aside, live)
        for check in verified.checks:
            reporter.check(check)
        for sentence in verified.sentences:
            reporter.say(sentence)
        if any(not check.passed for check in verified.checks):
            raise CheckFailedError(f"export to {plan.folder_name}: nothing was kept", verified.checks)
        usage = form.usage(subject, plan, job.folder)
        card = model_card(subject, plan, verified.checks if live else (), verified.sentences, usage)
        (aside / "README.md").write_text(card, encoding="utf-8")
        record = _record(subject, plan, verified, aside, is_verified=live is not None)
        record.save(aside)
    return Exported(
        plan.format,
        plan.type,
        job.folder,
        sum(file.num_bytes for file in record.files),
        tuple(verified.checks),
        verified.figures,
        verified.sentences,
        usage,
        live is not None,
    )


def _record(subject: Subject, plan: FormatPlan, verified: Verified, folder: Path, *, is_verified: bool) -> ExportRecord:
    combination = subject.plan.combination
    settings: dict[str, Any] = {
        "dtype": str(subject.dtype).removeprefix("torch."),
        "adapters": [str(adapter.path.parent) for adapter in subject.adapters],
    }
    if any(isinstance(c, StoredInNf4) for o in subject.plan.operations.values() for cs in o.changes for c in cs):
        settings["onto_nf4"] = True
    if "candidates" in subject.card:
        settings["candidates"] = subject.card["candidates"]
    if combination is not None:
        settings |= {
            "combination": {
                "method": combination.method,
                "weights": list(combination.weights),
                "density": combination.density,
                "rank": combination.rank,
                "seed": combination.seed,
            }
        }
    return ExportRecord(
        format=plan.format,
        type=plan.type,
        run=str(subject.run.absolute()),
        base_model=subject.base.name,
        created_at=now(),
        luthier_version=__version__,
        verified=is_verified,
        files=hash_folder(folder),
        checks=tuple(check.to_json() for check in verified.checks),
        figures=verified.figures,
        settings=settings,
    )


@dataclass(frozen=True)
class CheckResult:
    """An old export, looked at again.

    Attributes:
        repeated: Whether it was compared with its run again; False where the run is not there.
    """

    folder: Path
    record: ExportRecord
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]
    repeated: bool

    @property
    def passed(self) -> bool:
        """Whether all claims hold."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "folder": str(self.folder),
            "format": self.record.format,
            "type": self.record.type,
            "passed": self.passed,
            "compared_with_run": self.repeated,
            "checks": [check.to_json() for check in self.checks],
        }


def check_export(folder: Path, *, run: Path | None = None, reporter: Reporter | None = None) -> CheckResult:
    """Verify an export again: its files by their hashes, and, where its run is there, all that was verified then.

    Args:
        folder: Of the export.
        run: Where its run lies now; None for where it lay.
        reporter: Told of progress.

    Raises:
        InputError: It is no export.
    """
    reporter = reporter or Silent()
    record = ExportRecord.load(folder)
    reporter.stage("Hash the files")
    checks = [files_unchanged(folder, record.files)]
    reporter.check(checks[0])
    place = run or Path(record.run)
    if not (place / "run.json").is_file():
        if run is not None:
            raise InputError(f"There is no run at {run}.")
        reporter.say(
            f"Its run is no longer at {record.run}, so only the files were checked; name it: luthier export RUN --check DIR.",
            "warning",
        )
        return CheckResult(folder, record, tuple(checks), (), False)
    if not checks[0].passed:
        return CheckResult(folder, record, tuple(checks), (), False)
    given = record.settings.get("combination")
    combination = None if given is None else Combination(**{**given, "weights": tuple(given["weights"])})
    others = [OtherRun(path, 1.0) for path in record.settings["adapters"][1:]]
    dtype = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[record.settings["dtype"]]
    subject, recipe = open_subject(
        place,
        others=others,
        combination=combination,
        dtype=dtype,
        onto_nf4=bool(record.settings.get("onto_nf4")),
        reporter=reporter,
    )
    form = FORMATS[record.format]
    plan = form.plan(subject, record.type)
    require_memory(subject.weights.num_parameters)
    rows, conversations = read_probes(RunFolder(subject.run), recipe, subject.template, reporter)
    reporter.stage("Compare with the run")
    verified = form.verify(subject, plan, folder, Live(subject, rows, conversations, reporter))
    for check in verified.checks:
        reporter.check(check)
    return CheckResult(folder, record, (*checks, *verified.checks), verified.sentences, True)
