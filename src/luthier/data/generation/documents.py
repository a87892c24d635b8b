"""Documents (text, markdown, HTML, PDF) → pieces of text that a question can be asked about, each with its place.

A piece ends where a paragraph does; a paragraph that is longer than a piece is cut between sentences, and only where there is
none between words. Headings stand before what follows them. Nothing is in two pieces.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from luthier.data.generation.html_text import html_to_text
from luthier.data.open_file import kind_of_file, read_text_chunks
from luthier.errors import DataError, MissingExtraError

KINDS = (".txt", ".md", ".markdown", ".rst", ".html", ".htm", ".pdf")
LEAST_CHARACTERS = 200
_PATTERN_SIGNS = "*?["
_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"”’)\]]*\s+")
_HEADING = re.compile(r"#{1,6} ")


class Piece(NamedTuple):
    """Part of a document.

    Attributes:
        file: Where it comes from.
        number: Among the file's pieces, counted from 1.
        text: Its words.
    """

    file: str
    number: int
    text: str

    @property
    def source(self) -> str:
        """``guide.md#3``."""
        return f"{self.file}#{self.number}"


def find_documents(names: Sequence[str | Path]) -> list[Path]:
    """The documents that files, folders and patterns mean, sorted.

    Raises:
        DataError: There are none, or a file is of a kind that cannot be read.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = [p for p in path.rglob("*") if p.is_file() and kind_of_file(p) in KINDS]
            below = sorted(p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts))
        elif not path.exists() and any(sign in str(name) for sign in _PATTERN_SIGNS):
            below = sorted(Path(p) for p in glob.iglob(str(name), recursive=True) if Path(p).is_file())
        elif not path.exists():
            raise DataError(f"{path}: no such document.")
        else:
            below = [path]
        if not below:
            raise DataError(f"{name} holds no document ({', '.join(KINDS)}).")
        found += below
    for path in found:
        if kind_of_file(path) not in KINDS:
            raise DataError(f"{path}: documents of the kind '{path.suffix}' cannot be read; known: {', '.join(KINDS)}.")
    return list(dict.fromkeys(found))


def read_document(path: Path) -> str:
    """Its text.

    Raises:
        DataError: It cannot be read, or there is no text in it.
        MissingExtraError: It is a PDF, and what reads these is not installed.
    """
    kind = kind_of_file(path)
    text = _pdf_text(path) if kind == ".pdf" else "".join(read_text_chunks(path))
    text = html_to_text(text) if kind in (".html", ".htm") else text.replace("\r\n", "\n")
    if not text.strip():
        hint = " It may be scanned pages: recognise their text first." if kind == ".pdf" else ""
        raise DataError(f"{path}: there is no text in it.{hint}")
    return text


def cut_document(path: Path, most_characters: int) -> list[Piece]:
    """The pieces of a document, each at most so long.

    Raises:
        DataError: As `read_document`.
    """
    return [Piece(str(path), i, text) for i, text in enumerate(cut_text(read_document(path), most_characters), start=1)]


def cut_text(text: str, most_characters: int) -> list[str]:
    """Pieces that end with paragraphs; short ones are joined, a heading goes with what follows it."""
    pieces: list[str] = []
    current = ""
    for paragraph in _paragraphs(text, most_characters):
        is_new_part = _HEADING.match(paragraph) is not None and len(current) >= LEAST_CHARACTERS
        if current and (is_new_part or len(current) + len(paragraph) + 2 > most_characters):
            # A heading at the end belongs to what comes now.
            body, _, last = current.rpartition("\n\n")
            if body and _HEADING.match(last) and "\n" not in last and len(last) + len(paragraph) + 2 <= most_characters:
                pieces.append(body)
                current = last
            else:
                pieces.append(current)
                current = ""
        current = f"{current}\n\n{paragraph}" if current else paragraph
    return [*pieces, current] if current else pieces


def _paragraphs(text: str, most_characters: int) -> Iterator[str]:
    for paragraph in re.split(r"\n[ \t]*\n", text):
        stripped = paragraph.strip("\n").rstrip()
        if len(stripped) <= most_characters:
            if stripped.strip():
                yield stripped
        else:
            yield from _joined(_SENTENCE.split(stripped), most_characters)


def _joined(sentences: Iterable[str], most_characters: int) -> Iterator[str]:
    current = ""
    for sentence in sentences:
        while len(sentence) > most_characters:
            if current:
                yield current
                current = ""
            space = sentence.rfind(" ", most_characters // 2, most_characters)
            end = space if space > 0 else most_characters
            yield sentence[:end].rstrip()
            sentence = sentence[end:].lstrip()
        if current and len(current) + len(sentence) + 1 > most_characters:
            yield current
            current = ""
        current = f"{current} {sentence}".strip()
    if current:
        yield current


def _pdf_text(path: Path) -> str:
    try:
        import pypdf
        from pypdf.errors import PyPdfError
    except ImportError as error:
        raise MissingExtraError("pypdf", "pdf", f"Reading {path}") from error
    try:
        reader: Any = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError(f"{path} is locked with a password; save it without one.")
        return "\n\n".join(page.extract_text() for page in reader.pages)
    except (PyPdfError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: no readable PDF ({error}).") from error
