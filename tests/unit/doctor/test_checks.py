"""Verdicts on machines that are not here: each fact that stops a training, and the remedy that is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from luthier.doctor.checks import check_accelerators, check_caches, check_disks, check_network, check_system
from luthier.doctor.probe import Accelerators, CacheFolder, Card, Disk, Reach, System
from luthier.units import GIB

SYSTEM = System("3.12.1", "/x/python", True, "Linux 6.1 x86_64", "A CPU", 8, 8, True, 32 * GIB, 20 * GIB)
H100 = Card("NVIDIA H100", 80 * GIB, 79 * GIB, (9, 0))
CUDA = Accelerators("550.54", "12.4", "", "12.6", (H100,), "", False, None)


def statuses(items: list) -> dict[str, str]:
    return {item.name: item.status for item in items}


def test_a_good_machine() -> None:
    assert set(statuses(check_system(SYSTEM)).values()) == {"good"}
    assert set(statuses(check_accelerators(CUDA, "Linux")).values()) == {"good"}


def test_python_and_memory_that_are_too_little() -> None:
    items = check_system(replace(SYSTEM, python="3.10.4", memory_bytes=2 * GIB))
    assert statuses(items)["python"] == statuses(items)["memory"] == "failed"
    assert all(item.mend for item in items if item.status == "failed")
    assert statuses(check_system(replace(SYSTEM, in_environment=False)))["environment"] == "note"


def test_cards_say_what_they_compute() -> None:
    t4, a100, l4 = (Card(n, 16 * GIB, 15 * GIB, c) for n, c in (("T4", (7, 5)), ("A100", (8, 0)), ("L4", (8, 9))))
    words = [i.found for i in check_accelerators(replace(CUDA, cards=(t4, a100, l4)), "Linux") if i.name != "cuda"]
    assert words[0].endswith("7.5, fp16; no bf16; no fp8")
    assert words[1].endswith("8.0, bf16; no fp8")
    assert words[2].endswith("8.9, bf16, fp8")


def test_a_busy_card_is_told() -> None:
    busy = replace(CUDA, cards=(replace(H100, free_bytes=10 * GIB),))
    assert statuses(check_accelerators(busy, "Linux"))["card 0"] == "note"


def test_driver_and_torch_that_do_not_go_together() -> None:
    older = check_accelerators(replace(CUDA, torch_cuda="13.0"), "Linux")[0]
    assert (older.status, "incompatible pair" in older.found) == ("failed", True)
    assert older.mend.endswith("whl/cu126")
    # within a major version an older driver runs newer minor runtimes
    assert check_accelerators(replace(CUDA, driver_cuda="12.1"), "Linux")[0].status == "good"
    cpu_build = check_accelerators(replace(CUDA, torch_cuda=None, cards=()), "Linux")[0]
    assert cpu_build.status == "failed"
    assert "--force-reinstall torch" in cpu_build.mend
    hidden = check_accelerators(replace(CUDA, cards=()), "Linux")[0]
    assert hidden.status == "failed"
    assert "CUDA_VISIBLE_DEVICES" in hidden.mend
    broken = check_accelerators(replace(CUDA, driver=None, driver_fault="version mismatch", cards=()), "Linux")[0]
    assert broken.status == "failed"
    assert broken.mend


def test_no_card_is_no_failure_and_mps_has_its_limits() -> None:
    none = Accelerators(None, None, "", None, (), "", False, None)
    assert statuses(check_accelerators(none, "Linux")) == {"cuda": "note"}
    mac = check_accelerators(replace(none, mps=True, mps_limit_bytes=24 * GIB), "Darwin")
    assert "no bitsandbytes" in next(i.found for i in mac if i.name == "mps")


def test_disks_network_caches() -> None:
    folder = Path("/x")
    disks = [
        Disk("runs", folder, 50 * GIB, True),
        Disk("cache", folder, 5 * GIB, True),
        Disk("hub cache", folder, 1, True),
    ]
    assert [i.status for i in check_disks(disks)] == ["good", "note", "failed"]
    assert check_disks([Disk("cache", folder, 50 * GIB, False)])[0].mend.count("LUTHIER_CACHE") == 1
    network = check_network([Reach("a", 0.1, ""), Reach("b", 4.0, "timed out")])
    assert [i.status for i in network] == ["good", "note"]
    empty = check_caches([CacheFolder("luthier", folder, 0, ())])[0]
    assert empty.mend == "luthier models fetch smollm2-135m-instruct"
