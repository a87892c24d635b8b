"""Packages against what is wanted: hand-made installations with one fault each."""

from __future__ import annotations

from luthier.doctor.packages import Installed, mending_command, package_items

GOOD = {
    "torch": Installed("torch", "2.12.0", ("numpy>=1.20", "triton==3.3; extra == 'gpu'")),
    "numpy": Installed("numpy", "2.1.0"),
}
WANTED = ["torch>=2.11,<2.14", "numpy>=2.0", "pytest>=9; extra == 'dev'", "tomli>=2; python_version < '3.0'"]


def failed(wanted: list[str], installed: dict[str, Installed]) -> dict[str, tuple[str, str]]:
    return {i.name: (i.found, i.mend) for i in package_items(wanted, installed) if i.status == "failed"}


def test_a_good_installation_has_no_failure_and_extras_are_not_asked_for() -> None:
    items = package_items(WANTED, GOOD)
    assert [i.name for i in items if i.status == "good"] == ["torch", "numpy"]
    assert failed(WANTED, GOOD) == {}
    notes = {i.name: i.mend for i in items if i.status == "note"}
    assert notes["wandb"] == "pip install 'luthier[wandb]'"


def test_missing_too_old_and_too_new() -> None:
    found = failed(WANTED, {"torch": Installed("torch", "2.9.1")})
    assert found["numpy"] == ("missing; needed: >=2.0", "pip install 'numpy>=2.0'")
    assert found["torch"][0].startswith("2.9.1 is too old")
    newer = failed(WANTED, {**GOOD, "torch": Installed("torch", "2.14.0+cpu")})
    assert newer["torch"][0].startswith("2.14.0+cpu is outside of what Luthier is tested with")


def test_a_local_build_of_a_good_version_is_good() -> None:
    assert failed(WANTED, {**GOOD, "torch": Installed("torch", "2.13.0+cpu")}) == {}


def test_an_incompatible_pair_is_named_from_the_packages_own_metadata() -> None:
    wanted = ["transformers>=5", "tokenizers>=0.20"]
    installed = {
        "transformers": Installed("transformers", "5.23.0", ("tokenizers<=0.23,>=0.22",)),
        "tokenizers": Installed("tokenizers", "0.21.0"),
    }
    ((name, (words, mend)),) = failed(wanted, installed).items()
    assert name == "transformers + tokenizers"
    assert "5.23.0 needs tokenizers<=0.23,>=0.22, and 0.21.0 is installed" in words
    assert mend == "pip install 'tokenizers<=0.23,>=0.22'"


def test_one_command_mends_all() -> None:
    items = package_items(WANTED, {"numpy": Installed("numpy", "1.26.0")})
    assert mending_command(items) == "pip install 'torch<2.14,>=2.11' 'numpy>=2.0'"
    assert mending_command(package_items(WANTED, GOOD)) == ""
