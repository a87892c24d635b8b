"""Keys: several, from file and environment, compared whole; bad ones are refused before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.errors import InputError
from luthier.serve.keys import KEY_VARIABLE, Keys, read_keys

ONE, TWO = "k" * 20, "another-key-of-mine"


def test_any_of_the_keys_is_let_in_and_nothing_else() -> None:
    keys = Keys([ONE, TWO])
    assert keys.admit(f"Bearer {ONE}")
    assert keys.admit(f"bearer {TWO}")
    for wrong in (None, "", ONE, f"Basic {ONE}", f"Bearer {ONE}x", f"Bearer {ONE[:-1]}", "Bearer ", "Bearer \udcff"):
        assert not keys.admit(wrong)
    assert ONE not in repr(vars(keys))


def test_without_keys_everybody_is() -> None:
    assert Keys().admit(None)


def test_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# mine\n{ONE}\n\n")
    monkeypatch.setenv(KEY_VARIABLE, f" {TWO} ,")
    keys = read_keys(file)
    assert len(keys) == 2
    assert keys.admit(f"Bearer {ONE}")
    assert keys.admit(f"Bearer {TWO}")


@pytest.mark.parametrize("content", ["", "# nothing\n", "short\n", "has a space in the middle\n", "ключ" * 6])
def test_files_that_hold_no_good_key(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(InputError) as error:
        read_keys(file)
    assert not content.strip("# \n") or content.strip() not in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_keys(tmp_path / "none")
