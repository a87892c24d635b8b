"""Word by word from a table against the tokenizer itself: equal ids and equal places, for the tokenizers of real models."""

from __future__ import annotations

import json
import tarfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from luthier.data import piecewise
from luthier.data.piecewise import Encoded, PieceEncoder
from tests.conftest import SHARED_DATA
from tests.tiny import tiny_tokenizer

needs_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the development data are not beside the repository")
BYTE_LEVEL = ("qwen2_5", "phi4", "mistral_nemo", "deepseek_v3", "deepseek_r1_distill_qwen", "smollm2")
PIECES = (
    *(
        "Hello",
        "don't",
        "I'M",
        "x2y",
        "12345",
        "1,000.5",
        "snake_case",
        "über",
        "e\u0301",
        "漢字です",
        "かな",
        "한국어",
        "👩‍🚀",
    ),
    *("مرحبا", "नमस्ते", "<|im_start|>", "<|im_end|>", "<think>", "<｜User｜>", "[INST]", "</s>", "<|endoftext|>", "<s>"),
    *(
        "...",
        "!?",
        "```python",
        "//path/",
        "https://a.b/c",
        "\u00a0",
        "\u2003",
        "\u200b",
        "\u180e",
        "\ufeff",
        "\x1c",
        "\x85",
        "\0",
    ),
)
SPACES = ("", " ", " ", " ", "  ", "   ", "\n", "\n\n", " \n", "\n ", "\t", " \t ", "\r\n", "\r\n  ")
TEXTS = st.lists(st.tuples(st.sampled_from(PIECES) | st.text(max_size=4), st.sampled_from(SPACES)), max_size=12).map(
    lambda parts: "".join(piece + space for piece, space in parts)
)


@cache
def folder() -> Path:
    import tempfile

    root = Path(tempfile.mkdtemp())
    with tarfile.open(SHARED_DATA / "tokenizers.tar.xz") as archive:
        archive.extractall(root, filter="data")
    return root / "tokenizers"


@cache
def load(name: str) -> tuple[Tokenizer, PieceEncoder | None]:
    backend = Tokenizer.from_file(str(folder() / name / "tokenizer.json"))
    return backend, PieceEncoder.of(backend)


def assert_equal(ours: list[Encoded], backend: Tokenizer, texts: list[str]) -> None:
    for text, encoded, whole in zip(texts, ours, backend.encode_batch(texts, add_special_tokens=False), strict=True):
        assert encoded.ids.tolist() == whole.ids, text
        assert list(zip(encoded.starts.tolist(), encoded.ends.tolist(), strict=True)) == whole.offsets, text


@needs_data
@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_any_text_gives_equal_tokens_and_places(name: str):
    backend, pieces = load(name)
    assert pieces is not None

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(TEXTS, max_size=4))
    def check(texts: list[str]) -> None:
        assert_equal(pieces.encode(texts), backend, texts)

    check()


@needs_data
@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_real_text_gives_equal_tokens_and_places(name: str):
    backend, pieces = load(name)
    assert pieces is not None
    texts = (SHARED_DATA / "tasks" / "gsm8k" / "train.jsonl").read_text().splitlines()[:100]
    pages = sorted((SHARED_DATA / "dirty" / "readability_pages").glob("*/source.html"))
    texts += [page.read_text()[:20_000] for page in pages]
    texts += [
        row["full_text"] for row in json.loads((SHARED_DATA / "dirty/presidio_pii/generated_small.json").read_text())
    ]
    assert_equal(pieces.encode(texts), backend, texts)
    assert_equal(pieces.encode(texts[::-1]), backend, texts[::-1])


@needs_data
def test_sentencepiece_is_left_to_the_tokenizer():
    assert load("mistral_v3")[1] is None


def test_a_table_that_is_full_starts_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(piecewise, "_MOST_WORDS", 5)
    backend = tiny_tokenizer().backend_tokenizer
    pieces = PieceEncoder(backend)
    texts = [f"some words and number {number}, <|im_end|>\n more  of them" for number in range(10)]
    for _ in range(3):
        assert_equal(pieces.encode(texts), backend, texts)


@pytest.mark.parametrize("long", [30, 64])
def test_long_texts_are_encoded_part_by_part(monkeypatch: pytest.MonkeyPatch, long: int):
    monkeypatch.setattr(piecewise, "LONG_CHARACTERS", long)
    backend = tiny_tokenizer().backend_tokenizer
    pieces = PieceEncoder(backend)
    texts = [
        "a few words " * 40,
        "x" * 500,
        "short",
        "x" * 100 + " y" * 90 + "\n  z<|im_end|>" * 30,
        "é 快 " * 80,
        " " * 200,
    ]
    assert_equal(pieces.encode(texts), backend, texts)


@pytest.mark.parametrize(
    "pattern",
    [r"\w+ \w+|\s+|[^\s]+", r"[^\r\n\p{L}\p{N}]?\p{L}+ ?|\s+|.", r".+"],
    ids=["two words", "trailing space", "whole lines"],
)
def test_a_pattern_that_has_not_been_looked_at_is_left_to_the_tokenizer(pattern: str):
    from tokenizers import Regex

    backend = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    assert PieceEncoder.of(backend) is None


@pytest.mark.parametrize("token", [AddedToken("<a b>"), AddedToken("<a>", lstrip=True), AddedToken("<a>", rstrip=True)])
def test_added_tokens_that_take_spaces_are_left_to_the_tokenizer(token: AddedToken):
    backend = tiny_tokenizer().backend_tokenizer
    assert PieceEncoder.of(backend) is not None
    backend.add_special_tokens([token])
    assert PieceEncoder.of(backend) is None
