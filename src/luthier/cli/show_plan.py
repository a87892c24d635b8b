"""How a plan looks on a terminal of 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from luthier.cli.views import show_next
from luthier.plan.memory import MOMENTS
from luthier.units import GIB, format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from luthier.plan.cost import Cost
    from luthier.plan.remedies import Saving
    from luthier.workflows.calibrate import CalibrationResult
    from luthier.workflows.plan import PlanResult
    from luthier.workflows.plan_best import BestResult, Candidate

METHOD_WORDS = {"lora": "LoRA", "qlora": "QLoRA", "full": "full fine-tuning"}
VERDICT_STYLES = {"fits": "green", "tight": "yellow", "no": "red"}
MOST_COSTS, MOST_PER_METHOD = 8, 4


def show_plan(console: Console, result: PlanResult) -> None:
    """Memory by term, what fits where, remedies, time, money, and the next command."""
    _show_head(console, result)
    _show_memory(console, result)
    _show_fits(console, result)
    if result.verdict != "fits":
        _show_remedies(console, result.savings)
    if result.verdict == "no":
        _show_patch(console, result)
    _show_time(console, result)
    _show_costs(console, result.costs)
    for note in result.notes:
        console.print(Text.assemble(("note: ", "yellow"), note))
    show_next(console, _next(result))


def _show_head(console: Console, result: PlanResult) -> None:
    job, total = result.job, result.model.shape.parameters().total
    method = METHOD_WORDS[job.parameters] + ("" if job.is_full else f" of rank {job.rank}")
    words = f"{method}, {format_count(job.trained_parameters)} trained, {job.compute}"
    if job.objective != "sft":
        words = f"{job.objective.upper()} with {words}"
    console.print(Text.assemble((result.model.name, "bold"), f", {format_count(total)} parameters: {words}"))
    console.print(f"Shape from {result.model.source}", style="dim", soft_wrap=True)
    batches = _count(job.num_micro_batches, "micro-batch")
    console.print(
        f"{job.micro_batch_tokens:,} tokens at once (longest row {job.context:,}), {batches} a step; {job.kept}"
    )
    if result.rows:
        rows = result.rows
        console.print(
            f"{rows.num_rows:,} rows of {rows.mean_tokens:,.0f} tokens in the mean, {100 * rows.supervised_share:.0f} % learnt "
            f"({rows.measured_with})"
        )


def _show_memory(console: Console, result: PlanResult) -> None:
    plan = result.memory
    table = _table("memory at the peak", "GiB", "")
    for term in plan.terms:
        table.add_row(f"  {term.name}", f"{term.num_bytes / GIB:.2f}", Text(term.note, "dim"))
    band = f"{plan.low_bytes / GIB:.1f} to {plan.high_bytes / GIB:.1f}; {MOMENTS[plan.moment]}"
    table.add_row(Text("  together", "bold"), Text(f"{plan.total_bytes / GIB:.2f}", "bold"), Text(band))
    console.print()
    console.print(table)


def _show_fits(console: Console, result: PlanResult) -> None:
    console.print()
    words = {
        "fits": "fits",
        "tight": "fits if the plan is right, not if it is at the upper end of its band",
        "no": "does not fit",
    }
    device = result.device
    console.print(
        Text.assemble(
            f"On {device.name} ({result.usable_bytes / GIB:.1f} GiB usable): ",
            (words[result.verdict], f"bold {VERDICT_STYLES[result.verdict]}"),
        )
    )
    line = Text()
    for index, fit in enumerate(result.fits):
        strategy = "" if fit.strategy == "one card" else f", {fit.strategy}{'' if fit.available else ' *'}"
        line.append("" if index == 0 else " · ")
        line.append(f"{fit.budget.words} ")
        line.append(f"{fit.verdict}{strategy}", VERDICT_STYLES[fit.verdict])
    console.print(line)
    if not all(fit.available for fit in result.fits):
        console.print(Text("* FSDP shards are planned; Luthier's trainer runs copies (DDP) today.", "dim"))


def _show_remedies(console: Console, savings: tuple[Saving, ...]) -> None:
    if not savings:
        return
    table = _table("to need less, each alone", "saves GiB", "time", "")
    for saving in savings:
        time = f"{100 * saving.slower_share:+.0f} %"
        words = saving.harm or saving.words
        table.add_row(
            f"  {saving.name}",
            f"{saving.saved_bytes / GIB:.1f}",
            time,
            words,
        )
    console.print()
    console.print(table)


def _show_patch(console: Console, result: PlanResult) -> None:
    patch = result.patch
    if patch is None:
        console.print(Text(f"Nothing in the list makes it fit on {result.device.name}.", "bold red"))
        return
    names = ", ".join(patch.names)
    slower = f"{100 * patch.slower_share:+.0f} % time"
    words = f"{names}: {patch.needed_bytes / GIB:.1f} GiB, {slower}"
    console.print(Text.assemble(("First set that fits: ", "bold"), words))
    console.print(f"  {' '.join(_quoted(o) for o in patch.overrides)}", soft_wrap=True)


def _show_time(console: Console, result: PlanResult) -> None:
    if result.time is None or result.amount is None:
        return
    time, amount = result.time, result.amount
    how = "calibrated on this device" if time.calibrated else f"{result.device.efficiency_source}"
    after = " with the set above" if result.patch else ""
    console.print()
    console.print(
        f"time on {result.request.num_cards} × {result.device.name}{after}: {format_seconds(time.seconds)} "
        f"({format_seconds(time.low)} to {format_seconds(time.high)}) for {amount.steps:,} steps, "
        f"{time.tokens_per_second:,.0f} tokens a second"
    )
    console.print(f"  rate: {how}", style="dim")


def _show_costs(console: Console, costs: tuple[Cost, ...]) -> None:
    if not costs:
        return
    table = _table("money", "card", "hours", "USD", "as of", "sessions")
    for cost in costs[:MOST_COSTS]:
        offer = cost.offer
        cards = f"{cost.num_cards} × " if cost.num_cards > 1 else ""
        table.add_row(
            f"  {offer.platform}",
            f"{cards}{offer.gpu}",
            _hours(cost.hours),
            f"{cost.usd:.2f}",
            f"{offer.as_of:%Y-%m}",
            _session_words(cost),
        )
    console.print()
    console.print(table)


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}es"


def _hours(hours: float) -> str:
    return f"{hours:.1f}" if hours >= 1 else f"{hours:.2f}"


def _session_words(cost: Cost) -> str:
    parts = ["one" if cost.sessions == 1 else f"{cost.sessions}, save every {cost.checkpoint_every_steps} steps"]
    if cost.weeks > 1:
        parts.append(f"{cost.weeks} weeks of quota")
    return "; ".join(parts)


def _next(result: PlanResult) -> tuple[str, str]:
    request, patch = result.request, result.patch
    if request.recipe_path is None:
        if result.amount is None:
            return f"luthier plan --model {request.model} --gpu {request.gpu} --data FILE", "time and money too"
        return "luthier recipe show", "what a recipe takes; then: luthier plan RECIPE"
    changes = " ".join(_quoted(o) for o in patch.overrides) if patch else ""
    return f"luthier train {request.recipe_path} {changes}".rstrip(), "train it"


def show_best(console: Console, result: BestResult) -> None:
    """The recommendation, and the table it comes from."""
    device = result.device
    rows = f"{result.rows.num_rows:,} rows ({result.rows.measured_with})" if result.rows else "rows"
    console.print(
        f"{device.name}, {device.usable_bytes / GIB:.1f} GiB usable; {rows} of up to {result.context:,} tokens"
    )
    if result.best is None:
        console.print(Text("No model of the catalogue fits with an adapter on 16-bit weights.", "bold red"))
    recommended = (
        ("Best with an adapter: ", result.best),
        ("Best in 4 bits: ", result.in_four_bits),
        ("Best with every parameter: ", result.full),
    )
    for words, candidate in recommended:
        if candidate is not None:
            console.print(
                Text.assemble((words, "bold"), (candidate.name, "bold green"), f", {_candidate_words(candidate)}")
            )
    table = _table("model", "method", "GiB", "time", "changes")
    for candidate in result.shown(MOST_PER_METHOD):
        time = "" if candidate.hours is None else format_seconds(3600 * candidate.hours)
        changes = "checkpointing" if "gradient_checkpointing" in " ".join(candidate.overrides) else ""
        table.add_row(
            f"  {candidate.name}",
            METHOD_WORDS[candidate.parameters].split()[0],
            f"{candidate.needed_bytes / GIB:.1f}",
            time,
            Text(changes, "dim"),
        )
    console.print()
    console.print(table)
    best = result.best or result.in_four_bits or result.full
    if best is not None:
        show_next(
            console, (f"luthier plan --model {best.name} --gpu {device.name}", "its memory by term, and what it costs")
        )


def _candidate_words(candidate: Candidate) -> str:
    time = "" if candidate.hours is None else f", {format_seconds(3600 * candidate.hours)}"
    changes = f"; {' '.join(candidate.overrides)}" if candidate.overrides else ""
    return f"{candidate.needed_bytes / GIB:.1f} GiB{time} ({candidate.licence}){changes}"


def show_calibration(console: Console, result: CalibrationResult) -> None:
    """What was measured, and what it is used for."""
    kept = result.calibration
    console.print(
        f"{kept.device}, {kept.compute}, {METHOD_WORDS[kept.parameters]}: {kept.tokens_per_second:,.0f} tokens a second over "
        f"{kept.steps} steps ({kept.flops_per_second / 1e9:,.0f} GFLOP/s)"
    )
    share = kept.planned_bytes / kept.peak_bytes - 1
    console.print(
        f"Peak memory: measured {format_bytes(kept.peak_bytes)}, planned {format_bytes(kept.planned_bytes)} ({share:+.0%})"
    )
    console.print(f"Kept in {result.path}; plans for this device use it from now on.", soft_wrap=True)
    show_next(console, (f"luthier plan {result.recipe}", "with the measured rate"))


def _quoted(override: str) -> str:
    return f"'{override}'" if any(c in override for c in " {}[]*") else override


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        numeric = column in ("GiB", "saves GiB", "time", "hours", "USD")
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=index == 0)
    return table
