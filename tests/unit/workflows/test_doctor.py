"""The doctor as a whole: verdict, next step, and a table of what can be trained that agrees with the planner."""

from __future__ import annotations

import pytest

from luthier.doctor.item import Item
from luthier.workflows import doctor as module
from luthier.workflows.doctor import DoctorResult
from luthier.workflows.plan import PlanRequest, plan
from luthier.workflows.trainable import trainable_here


def result(*items: Item, mend_packages: str = "") -> DoctorResult:
    return DoctorResult(items, None, "", mend_packages, 0.0)


def test_one_failure_fails_and_says_what_to_do_next() -> None:
    good, bad = Item("machine", "cpu", "good", "x"), Item("gpu", "cuda", "failed", "x", "update the driver")
    assert result(good).passed
    assert result(good).next_step == "luthier demo"
    assert not result(good, bad).passed
    assert result(good, bad).next_step == "update the driver"
    assert result(bad, mend_packages="pip install a").next_step == "pip install a"


def test_the_table_is_what_the_planner_says() -> None:
    table = trainable_here("T4")
    cells = {(c.model, c.parameters, c.context): c for c in table.cells}
    small = cells["qwen2.5-1.5b-instruct", "lora", 1024]
    planned = plan(PlanRequest("qwen2.5-1.5b-instruct", "lora", context=1024, gpu="T4"))
    fits = planned.memory.total_bytes <= planned.usable_bytes
    assert small.overrides == ((planned.patch.overrides if planned.patch else ()) if not fits else ())
    if fits:
        assert small.needed_bytes == planned.memory.total_bytes
    # 7 billion parameters in 16-bit weights alone are more than a T4 has; their 4-bit weights are not
    assert cells["mistral-7b-instruct-v0.3", "full", 1024].needed_bytes is None
    assert cells["mistral-7b-instruct-v0.3", "qlora", 1024].needed_bytes is not None
    assert cells["smollm2-135m-instruct", "lora", 16384].beyond_context  # it was built for 8,192


def test_a_fault_in_looking_is_an_item_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from luthier.doctor import probe

    def broken() -> None:
        raise OSError("no such device")

    monkeypatch.setattr(probe, "look_at_accelerators", broken)
    monkeypatch.setattr(module, "_trials", lambda *_: [])
    found = module.doctor(offline=True)
    (failed,) = [i for i in found.items if i.name == "cards"]
    assert failed.status == "failed"
    assert "no such device" in failed.found
    assert any(i.group == "caches" for i in found.items)
    assert found.to_json()["passed"] is False
