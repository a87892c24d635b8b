"""Long lines on terminals of several widths, and in a file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from luthier.cli.hanging import print_hanging

WORDS = "The loss of 4 packed rows equals a plain transformers forward of each row alone."


def printed(text: Text, indent: int, **console: object) -> list[str]:
    file = io.StringIO()
    print_hanging(Console(file=file, color_system=None, **console), text, indent)  # type: ignore[arg-type]
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_lines_go_on_below_the_beginning(width: int) -> None:
    lines = printed(Text(f"  ✓ {WORDS}"), 4, force_terminal=True, width=width)
    assert len(lines) == -(-len(WORDS) // (width - 4))
    assert lines[0].startswith("  ✓ The loss")
    assert all(line.startswith("    ") and line[4] != " " for line in lines[1:])
    assert max(map(len, lines)) <= width
    assert " ".join(line[4:] for line in lines) == WORDS


def test_lines_of_the_text_itself_stay() -> None:
    assert printed(Text("  two rows:\n  a: 1\n  b: 2"), 2, force_terminal=True, width=60) == [
        "  two rows:", "    a: 1", "    b: 2",
    ]  # fmt: skip


def test_in_a_file_nothing_is_broken() -> None:
    assert printed(Text(f"  ✓ {WORDS} {WORDS}"), 4, width=40) == [f"  ✓ {WORDS} {WORDS}"]
    assert printed(Text("title"), 0, force_terminal=True, width=40) == ["title"]
    assert printed(Text(""), 4, force_terminal=True, width=40) in ([], [""])
