"""The README is true: its tree, its links and its commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from luthier.cli.app import VERBS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src" / "luthier"


def tree() -> list[str]:
    """Lines of the tree below ``src/luthier/``."""
    block = README[README.index("src/luthier/\n") :]
    return [line for line in block[: block.index("```")].splitlines()[1:] if line.startswith("  ")]


def named_folders() -> set[str]:
    folders: set[str] = set()
    parent = ""
    for line in tree():
        found = re.match(r"( +)([a-z_]+)/", line)
        if found:
            name = found[2] if len(found[1]) == 2 else f"{parent}/{found[2]}"
            parent = name if len(found[1]) == 2 else parent
            folders.add(name)
    return folders


def test_tree_names_every_package_folder_and_no_other() -> None:
    packages = {str(p.parent.relative_to(SOURCE)) for p in SOURCE.rglob("__init__.py")} - {"."}
    assert named_folders() == packages


def test_files_in_the_tree_exist() -> None:
    for line in tree():
        found = re.match(r" +([a-z_]+)/", line)
        folder = SOURCE / found[1] if found else SOURCE
        for name in re.findall(r"\b[a-z_]+\.py\b", line):
            assert (folder / name).is_file(), f"{name} in: {line}"


def test_top_level_files_are_named() -> None:
    assert {p.name for p in SOURCE.glob("*.py")} - {"__init__.py"} == set(re.findall(r"[a-z_]+\.py", tree()[0]))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_commands_exist() -> None:
    code = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL) + re.findall(r"`([^`\n]+)`", README))
    verbs = set(re.findall(r"^ *luthier ([a-z]+)", code, re.MULTILINE))
    assert {"train", "evaluate", "runs", "recipe", "verify", "models"} <= verbs <= set(VERBS)
    targets = set(re.findall(r"^ *make ([a-z-]+)", code, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"demo", "test", "check"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
