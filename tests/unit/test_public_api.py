"""The names in `luthier` are what they promise, whatever was imported before, and importing them is free."""

from __future__ import annotations

import subprocess
import sys

import luthier


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_names_are_there_again_and_again() -> None:
    code = "import luthier\nfor _ in range(2):\n for name in luthier.__all__[1:]: assert callable(getattr(luthier, name)), name"
    assert python(code) == ""


def test_no_package_hides_a_function() -> None:
    """A sub-package of the same name would take a function's place as soon as it is imported."""
    from pathlib import Path

    folder = Path(luthier.__file__).parent
    taken = {p.stem for p in folder.iterdir() if p.is_dir() or p.suffix == ".py"}
    assert not taken & set(luthier.__all__)


def test_importing_luthier_loads_nothing_heavy() -> None:
    heavy = "[m for m in ('torch', 'transformers', 'peft') if m in sys.modules]"
    found = python(f"import sys, luthier, luthier.config.load; print({heavy})")
    assert found == "[]"
