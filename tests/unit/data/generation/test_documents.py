"""Documents become text, and text pieces."""

from __future__ import annotations

import builtins
from pathlib import Path

import pytest

from luthier.data.generation.documents import cut_document, cut_text, find_documents, read_document
from luthier.data.generation.html_text import html_to_text
from luthier.errors import DataError, MissingExtraError

PAGE = """<!doctype html><html><head><title>Menu</title><style>p{color:red}</style></head><body>
<nav><a href="/">Home</a><ul><li>Shop</li></ul></nav>
<h1>Bread &amp; butter</h1><p>Flour, water,<br>salt.</p>
<ul><li>knead</li><li>bake at 230&nbsp;°C</li></ul>
<table><tr><th>Step</th><td>20 min</td></tr></table>
<pre>a = 1
  b = 2</pre><script>alert("no")</script><footer>© nobody</footer></body></html>"""


def test_of_a_page_what_a_reader_sees():
    text = html_to_text(PAGE)
    assert text.startswith("# Bread & butter\n\nFlour, water,\nsalt.")
    assert "- knead" in text
    assert "bake at 230 °C" in text
    assert "Step 20 min" in text
    assert "a = 1\n  b = 2" in text
    for hidden in ("Menu", "color", "Home", "Shop", "alert", "nobody"):
        assert hidden not in text


def test_pieces_end_with_paragraphs_and_nothing_is_lost_or_twice():
    paragraphs = [f"Paragraph {i} says " + f"word{i} " * 30 for i in range(20)]
    text = "\n\n".join(p.strip() for p in paragraphs)
    pieces = cut_text(text, 900)
    assert "\n\n".join(pieces) == text
    assert all(len(piece) <= 900 for piece in pieces)
    # 196 characters each, from the eleventh on 227: four fit, then two of each, then three.
    assert [piece.count("Paragraph") for piece in pieces] == [4, 4, 4, 3, 3, 2]


def test_long_paragraphs_are_cut_between_sentences_and_words():
    sentences = [f"This is sentence number {i}." for i in range(40)]
    pieces = cut_text(" ".join(sentences), 250)
    assert all(piece.endswith(".") for piece in pieces)
    words = ["w" * 7] * 100
    cut = cut_text(" ".join(words), 250)
    assert " ".join(" ".join(cut).split()) == " ".join(words)
    assert {len(piece) for piece in cut_text("x" * 1000, 250)} == {250}
    assert "".join("".join(cut_text("中文句子。" * 200, 250)).split()) == "中文句子。" * 200


def test_headings_go_with_what_follows_them():
    text = "# One\n\n" + "a " * 150 + "\n\n## Two\n\n" + "b " * 150
    first, second = cut_text(text, 2000)
    assert first.startswith("# One")
    assert second.startswith("## Two")
    for piece in cut_text(text, 320):
        assert not piece.endswith(("# One", "## Two"))


def test_files_folders_and_what_is_no_document(tmp_path: Path):
    (tmp_path / "a.md").write_text("# Title\r\n\r\nText.")
    (tmp_path / "b.html").write_text(PAGE)
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "d.md").write_text("no")
    assert [p.name for p in find_documents([tmp_path, tmp_path / "a.md"])] == ["a.md", "b.html"]
    assert [p.name for p in find_documents([f"{tmp_path}/*.md"])] == ["a.md"]
    assert read_document(tmp_path / "a.md") == "# Title\n\nText."
    (piece,) = cut_document(tmp_path / "a.md", 1000)
    assert piece.source == f"{tmp_path}/a.md#1"
    for name, expected in (
        ("c.png", "kind '.png'"),
        ("x.md", "no such document"),
        (".hidden/*.txt", "holds no document"),
    ):
        with pytest.raises(DataError, match=expected):
            find_documents([tmp_path / name])
    (tmp_path / "empty.html").write_text("<html><script>x</script></html>")
    (tmp_path / "latin.txt").write_bytes("Caf\xe9".encode("latin-1"))
    with pytest.raises(DataError, match="no text in it"):
        read_document(tmp_path / "empty.html")
    with pytest.raises(DataError, match="not UTF-8"):
        read_document(tmp_path / "latin.txt")


def small_pdf(text: str) -> bytes:
    """One page, written by hand."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + table
    return out + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start


def test_pdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.pdf"
    path.write_bytes(small_pdf("Bread is baked at 230 degrees."))
    pytest.importorskip("pypdf", reason="the extra pdf is not installed")
    assert read_document(path).strip() == "Bread is baked at 230 degrees."
    path.write_bytes(b"%PDF-1.4 cut off")
    with pytest.raises(DataError, match="no readable PDF"):
        read_document(path)
    path.write_bytes(small_pdf(""))
    with pytest.raises(DataError, match="scanned"):
        read_document(path)
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pypdf"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"luthier\[pdf\]"):
        read_document(path)
