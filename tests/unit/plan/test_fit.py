"""What fits, remedies and their patch to a recipe, prices and sessions, rates."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from luthier.config.load import load_recipe
from luthier.errors import InputError, ResourceError
from luthier.plan.calibration import Calibration, choose_calibration, keep_calibration, load_calibrations
from luthier.plan.catalogue import find_in_catalogue
from luthier.plan.cost import Offer, cost_of, load_offers, merge_offers, read_offers
from luthier.plan.engine import ours_on
from luthier.plan.fit import BUDGETS, Budget, fit, fit_all
from luthier.plan.flops import step_flops
from luthier.plan.hardware import find_hardware, load_hardware
from luthier.plan.job import Job
from luthier.plan.memory import plan_memory
from luthier.plan.policy import CheckpointPolicy
from luthier.plan.remedies import REMEDIES, first_patch, savings
from luthier.plan.time import Amount, seconds_per_micro_batch, training_time
from luthier.units import GIB

CUDA = ours_on("cuda")


def job(name: str, parameters: Any, **changes: Any) -> Job:
    row = find_in_catalogue(name)
    assert row is not None
    return replace(Job(row.shape, parameters, 8192, 2048), **changes)


def test_strategies() -> None:
    seven = job("qwen2.5-7b-instruct", "full", micro_batch_tokens=2048)
    assert fit(seven, CUDA, Budget(80, 1)).verdict == "no"
    shards = fit(seven, CUDA, Budget(80, 8))
    assert (shards.strategy, shards.verdict, shards.available) == ("FSDP", "fits", False)
    small = fit(job("smollm2-135m-instruct", "lora"), CUDA, Budget(80, 2))
    assert (small.strategy, small.verdict, small.available) == ("DDP", "fits", True)
    assert [f.budget for f in fit_all(seven, CUDA)] == list(BUDGETS)


def test_known_limits_of_cards() -> None:
    """What people do in practice: 8B LoRA in bf16 with checkpointing on 24 GB, QLoRA of 8B on 16 GB, of 70B on 80 GB."""

    def verdict(name: str, parameters: Any, gigabytes: int) -> str:
        planned = job(name, parameters, micro_batch_tokens=2048)
        policy = CheckpointPolicy.recompute_all(planned.shape.num_layers)
        return fit(replace(planned, policy=policy), CUDA, Budget(gigabytes)).verdict

    assert verdict("llama-3.1-8b-instruct", "lora", 24) == "fits"
    assert verdict("llama-3.1-8b-instruct", "lora", 16) == "no"
    assert verdict("llama-3.1-8b-instruct", "qlora", 16) == "fits"
    assert verdict("llama-3.3-70b-instruct", "qlora", 80) == "fits"
    assert verdict("llama-3.3-70b-instruct", "lora", 80) == "no"
    assert verdict("llama-3.1-8b-instruct", "full", 80) == "no"


def test_patches_change_recipes_as_they_change_jobs(tmp_path: Path) -> None:
    recipe = {
        "model": {"name": "x/y"},
        "data": {"train": "demo:shop-sql"},
        "run": {"name": "r"},
        "adapter": {"kind": "none"},
    }
    device = find_hardware("RTX-4090")
    whole = job("qwen2.5-7b-instruct", "full", compute="fp32", attention="eager", context=4096)
    seen: set[str] = set()
    for remedy in REMEDIES:
        for start in (whole, replace(whole, parameters="lora", rank=64)):
            change = remedy.change(start, device)
            if change is not None:
                assert change.overrides, remedy.name
                load_recipe(
                    {**recipe, "adapter": {"kind": "lora"} if start.parameters == "lora" else recipe["adapter"]},
                    change.overrides,
                )
                seen.add(remedy.name)
    assert seen == {r.name for r in REMEDIES}
    adapted = load_recipe(recipe, ["adapter={kind: lora, rank: 16}"]).recipe
    assert not adapted.is_full


def test_the_first_set_that_fits_has_nothing_needless() -> None:
    device = find_hardware("RTX-4090")
    planned = job("qwen2.5-7b-instruct", "lora", context=4096)
    patch = first_patch(planned, CUDA, device, device.usable_bytes)
    assert patch is not None
    assert patch.names == ("checkpointing",)  # a smaller micro-batch comes first in order, and is not needed with it
    assert patch.overrides == ("train.gradient_checkpointing=true",)
    assert patch.needed_bytes == plan_memory(patch.job, CUDA).total_bytes <= device.usable_bytes
    # Recomputing all layers but down_proj's products costs a third to a half of a frozen base's 4N.
    assert 0.25 < patch.slower_share < 0.5
    assert first_patch(patch.job, CUDA, device, device.usable_bytes) is None  # it fits: nothing to change
    assert first_patch(planned, CUDA, device, 4 * GIB) is None  # nothing helps
    in_four_bits = first_patch(planned, CUDA, device, 9 * GIB)
    assert in_four_bits is not None
    assert in_four_bits.job.parameters == "qlora"
    assert "precision.base=nf4" in in_four_bits.overrides


def test_what_bitsandbytes_does_not_run_on_is_not_advised() -> None:
    planned = job("qwen2.5-7b-instruct", "lora", context=4096)
    laptop, machine = find_hardware("M3-Max"), find_hardware("cpu")
    by_name = {r.name: r for r in REMEDIES}
    assert by_name["QLoRA"].change(planned, laptop) is None
    assert by_name["QLoRA"].change(planned, machine) is not None
    assert by_name["paged 8-bit optimiser"].change(planned, machine) is None


def test_each_saving_is_what_the_plan_says() -> None:
    device = find_hardware("A100")
    planned = job("llama-3.2-1b-instruct", "lora", rank=8)
    before = plan_memory(planned, CUDA).total_bytes
    by_name = {s.name: s for s in savings(planned, CUDA, device)}
    policy = CheckpointPolicy.recompute_all(16)
    assert (
        by_name["checkpointing"].saved_bytes == before - plan_memory(replace(planned, policy=policy), CUDA).total_bytes
    )
    assert by_name["checkpointing"].overrides == ("train.gradient_checkpointing=true",)
    in_four_bits = replace(planned, parameters="qlora")
    assert by_name["QLoRA"].saved_bytes == before - plan_memory(in_four_bits, CUDA).total_bytes
    assert by_name["QLoRA"].overrides == ("precision.base=nf4",)
    assert "lower rank" not in by_name


def test_micro_batches_never_cut_a_row() -> None:
    long = job("qwen2.5-7b-instruct", "lora", context=8192)
    assert next(r for r in REMEDIES if r.name == "smaller micro-batch").change(long, find_hardware("T4")) is None


def test_hardware_table() -> None:
    names = [row.name for row in load_hardware()]
    for wanted in (
        "T4",
        "L4",
        "A10",
        "RTX-3090",
        "RTX-4090",
        "RTX-5090",
        "A100-80",
        "H100",
        "H200",
        "MI300X",
        "M4-Max",
    ):
        assert wanted in names
    assert all(row.source and row.efficiency_source for row in load_hardware())
    assert (find_hardware("t4").compute, find_hardware("4090").compute, find_hardware("m4-max").compute) == (
        "fp16",
        "bf16",
        "fp32",
    )
    assert find_hardware("here").memory_gib > 0
    with pytest.raises(ResourceError, match=r"No device 'RTX 4900'.*Did you mean RTX-4090"):
        find_hardware("RTX 4900")


def test_time_is_work_over_rate() -> None:
    device = find_hardware("A100")
    planned = job("llama-3.1-8b-instruct", "lora", micro_batch_tokens=4096, context=4096)
    work = step_flops(planned, CUDA).total
    assert seconds_per_micro_batch(planned, CUDA, device) == pytest.approx(work / (312e12 * 0.5))
    amount = Amount(num_rows=1000, mean_tokens=4096, epochs=2, batch_rows=16)
    assert amount.steps == 126
    found = training_time(planned, CUDA, device, amount)
    assert found.seconds == pytest.approx(2000 * work / 156e12, rel=0.01)
    two = training_time(planned, CUDA, device, amount, num_cards=2)
    assert two.seconds == pytest.approx(found.seconds / (2 * 0.92), rel=0.01)


def test_nemo_is_predicted() -> None:
    """NeMo AutoModel publishes 12,473 tokens/s for this setting on one H100; the table's efficiency is from that figure."""
    planned = job("llama-3.1-8b-instruct", "lora", micro_batch_tokens=8192, context=4096)
    rate = 8192 / seconds_per_micro_batch(planned, CUDA, find_hardware("H100"))
    assert rate == pytest.approx(12473, rel=0.05)


def test_small_models_wait_for_the_host() -> None:
    tiny = job("smollm2-135m-instruct", "lora", micro_batch_tokens=1024, context=512)
    assert seconds_per_micro_batch(tiny, CUDA, find_hardware("H100")) == pytest.approx(0.008 * 30)


def test_calibration_is_kept_and_chosen(tmp_path: Path) -> None:
    def made(device: str, num_parameters: int, rate: float) -> Calibration:
        return Calibration(device, "bf16", "lora", num_parameters, rate, 500.0, 2e9, 2.1e9, 8, "2026-11-24")

    kept = [made("T4", 10**9, 1e12), made("T4", 7 * 10**9, 2e12), made("A10", 10**9, 3e12)]
    for calibration in kept:
        keep_calibration(tmp_path, calibration)
    known = load_calibrations(tmp_path)
    assert sorted(known, key=lambda c: c.flops_per_second) == kept
    assert choose_calibration(known, "T4", "bf16", "lora", 6 * 10**9) == kept[1]
    assert choose_calibration(known, "T4", "fp16", "lora", 6 * 10**9) is None
    planned = job("smollm2-135m-instruct", "lora")
    seconds = seconds_per_micro_batch(planned, CUDA, find_hardware("T4"), kept[0])
    assert seconds == pytest.approx(step_flops(planned, CUDA).total / 1e12)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ResourceError, match=r"broken\.json cannot be read"):
        load_calibrations(tmp_path)
    assert load_calibrations(tmp_path / "nothing") == ()


def test_sessions_and_money() -> None:
    colab = Offer("Colab free", "T4", 0.0, (1,), 4, 0, date(2026, 3, 1), "x")
    short = cost_of(colab, 3 * 3600, 1, 100)
    assert (short.usd, short.sessions, short.checkpoint_every_steps) == (0.0, 1, 0)
    long = cost_of(colab, 10 * 3600, 1, 1000)
    # 3.6 usable hours a session: three of them; 100 steps an hour, so eight saves a session are 45 steps apart.
    assert (long.sessions, long.checkpoint_every_steps) == (3, 45)
    kaggle = replace(colab, platform="Kaggle", session_hours=12, weekly_hours=30)
    assert cost_of(kaggle, 70 * 3600, 1, 1000).weeks == 3
    rented = replace(colab, usd_per_hour=2.0, session_hours=0)
    assert cost_of(rented, 2 * 3600, 4, 10).usd == 16.0


def test_price_table_and_ones_own(tmp_path: Path) -> None:
    offers = load_offers()
    assert {o.platform.split()[0] for o in offers} == {"Colab", "Kaggle", "Lambda", "RunPod", "Vast"}
    assert all(o.source.startswith("https://") and o.as_of >= date(2024, 1, 1) for o in offers)
    for offer in offers:
        find_hardware(offer.gpu)
    path = tmp_path / "mine.yaml"
    path.write_text("- {platform: Lambda, as_of: 2026-11-01, source: invoice, gpus: {A10: {usd: 0.5}}}")
    merged = merge_offers(offers, read_offers(path))
    assert len(merged) == len(offers)
    assert [o.usd_per_hour for o in merged if (o.platform, o.gpu) == ("Lambda", "A10")] == [0.5]
    path.write_text("- {platform: Lambda}")
    with pytest.raises(InputError, match=r"mine\.yaml is no price table.*KeyError"):
        read_offers(path)


def test_policies() -> None:
    mixed = CheckpointPolicy.mixed(4, {"input": 2, "attention": 1})
    assert mixed.layers == ("input", "input", "attention", "all")
    assert str(mixed) == "keep everything in 1 layers, compute MLPs again in 1 layers, compute again in 2 layers"
    assert not CheckpointPolicy.keep_all(3).recomputes
    assert str(CheckpointPolicy.recompute_all(3)) == "compute again (all 3 layers)"
