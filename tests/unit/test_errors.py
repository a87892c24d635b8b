"""Errors carry the exit code of the command line and say what to do."""

from __future__ import annotations

import signal

import pytest

from luthier import errors
from luthier.types import Check


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.InputError("x"), 2),
        (errors.RecipeError(["a"]), 2),
        (errors.DataError("x"), 2),
        (errors.ModelError("x"), 2),
        (errors.RunError("x"), 2),
        (errors.MissingExtraError("p", "e", "Something"), 2),
        (errors.ResourceError("x"), 2),
        (errors.CheckFailedError("preflight", []), 1),
        (errors.Interrupted(signal.SIGINT, "x"), 130),
        (errors.Interrupted(signal.SIGTERM, "x"), 143),
    ],
)
def test_exit_codes(error: errors.LuthierError, exit_code: int) -> None:
    assert error.exit_code == exit_code
    assert isinstance(error, errors.LuthierError)


def test_every_error_of_the_module_stands_in_its_tree() -> None:
    tree = errors.__doc__ or ""
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.LuthierError)]
    assert all(c.__name__ in tree for c in classes)


def test_recipe_error_lists_all_problems() -> None:
    error = errors.RecipeError(["a is wrong", "b is wrong"], where="r.yaml")
    assert str(error) == "r.yaml: 2 problems\n  a is wrong\n  b is wrong"
    assert str(errors.RecipeError(["a"])).startswith("recipe: 1 problem\n")


def test_check_failed_error_shows_what_failed_and_what_to_do() -> None:
    good = Check("preflight.disk", "Fits on the disk.", 1, 2, "GiB", True, "Free space.")
    bad = Check("preflight.row", "Fits into memory.", 9, 8, "GiB", False, "Take a smaller micro batch.")
    text = str(errors.CheckFailedError("preflight", [good, bad]))
    assert "1 of 2 checks failed" in text
    assert "Measured 9 GiB, limit 8 GiB." in text
    assert "Take a smaller micro batch." in text
    assert "disk" not in text


def test_missing_extra_names_the_one_command() -> None:
    assert "pip install 'luthier[gguf]'" in str(errors.MissingExtraError("gguf", "gguf", "Export"))
