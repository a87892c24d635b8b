"""What identifies a tokenizer, typed access to what is in it, and whether it gives back the text that it was given."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from huggingface_hub import try_to_load_from_cache
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

# English, code, contractions, numbers, accents, scripts without spaces, emoji, line ends: what wrong pre-tokenisation breaks.
_PROBES = (
    "The quick brown fox doesn't jump, it's resting.",
    "I'LL SEE WE'VE WON'T",
    "def f(x):\n    return x ** 2  # squared\n\n\n",
    "Numbers: 1234567 3.14159 2024-07-26 12:30",
    "Größe, naïve café, señor, Žižek",
    "快速的棕色狐狸。速い茶色の狐。",
    "Привет, мир! مرحبا بالعالم",
    "👩‍🚀 🇩🇪 ✨ – “quotes” …",
    "tabs\tand\r\nline ends\n \n  spaces",
    "SELECT * FROM t WHERE a >= 10 AND b != 'x';",
)


def backend_of(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """The Rust tokenizer inside."""
    backend = tokenizer.backend_tokenizer
    assert isinstance(backend, Tokenizer), f"{type(tokenizer).__name__} is not built on a tokenizer.json"
    return backend


def special_id(tokenizer: PreTrainedTokenizerBase, role: str) -> int | None:
    """The id of the token that plays a role (``eos_token``, ``bos_token``), or None."""
    token = tokenizer.special_tokens_map.get(role)
    return None if token is None else token_id(tokenizer, str(token))


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """The id of a token that the tokenizer has."""
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int), f"{token!r} is no token"
    return found


def decode_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int] | NDArray[np.int32]) -> str:
    """The text of token ids, all of them, as they are."""
    numbers = [int(i) for i in ids]
    text = tokenizer.decode(numbers, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Equal for tokenizers that give equal ids; the same in every process. 16 hexadecimal digits."""
    backend = backend_of(tokenizer)
    if (
        backend.truncation is not None or backend.padding is not None
    ):  # left behind by earlier calls; no part of what it is
        backend = Tokenizer.from_str(backend.to_str())
        backend.no_truncation()
        backend.no_padding()
    special = {
        role: tokenizer.convert_tokens_to_ids(token)
        for role, token in tokenizer.special_tokens_map.items()
        if isinstance(token, str)
    }
    digest = hashlib.sha256(backend.to_str().encode())
    digest.update(json.dumps(special, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def check_tokenizer_round_trip(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """None if the tokenizer gives text back and agrees with its own tokenizer.json; else what is wrong and what to do.

    A cl100k vocabulary (Phi-4's kind) under the class name ``GPT2Tokenizer`` is rebuilt by transformers 5 with GPT-2's rules for
    cutting text into words. Every text still decodes, but from tokens that the model was not trained on: only the file tells.
    """
    for text in _PROBES:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        back = decode_text(tokenizer, ids)
        if unicodedata.normalize("NFKC", back) != unicodedata.normalize("NFKC", text):
            return (
                f"{type(tokenizer).__name__} turns {text!r} into {back!r}. What is trained is not what the data say. "
                "Check that tokenizer.json belongs to the model."
            )
    path = _definition_file(tokenizer)
    if path is None:
        return None
    reference = Tokenizer.from_file(str(path))
    reference.no_truncation()
    reference.no_padding()
    for text in _PROBES:
        expected = reference.encode(text, add_special_tokens=False).ids
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if ids != expected:
            return (
                f"{type(tokenizer).__name__} does not follow {path}: {text!r} becomes {len(ids)} tokens, the file says "
                f'{len(expected)}. Set "tokenizer_class" in tokenizer_config.json to "PreTrainedTokenizerFast".'
            )
    return None


def _definition_file(tokenizer: PreTrainedTokenizerBase) -> Path | None:
    """The tokenizer.json that the tokenizer was loaded from, if it can be told without a network."""
    name = str(tokenizer.name_or_path)
    if not name:
        return None
    local = Path(name) / "tokenizer.json"
    if local.is_file():
        return local
    if Path(name).exists() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        return None
    cached = try_to_load_from_cache(name, "tokenizer.json")
    return Path(cached) if isinstance(cached, str) else None
