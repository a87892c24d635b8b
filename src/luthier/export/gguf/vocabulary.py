"""A tokenizer as GGUF metadata: tokens, their kinds, merges or scores, how text is split, which ids begin and end.

Two kinds are written: byte-level BPE ("gpt2") and SentencePiece-like BPE with byte fallback ("llama"). The file names how text
is split before merging by one word out of a list that llama.cpp keeps; a tokenizer whose steps are not in our table of it is
refused, because with the wrong word llama.cpp would make other tokens and say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from gguf import GGUFWriter, TokenType
from tokenizers import Regex, pre_tokenizers

from luthier.data.template import ChatTemplate
from luthier.data.tokenizer_check import special_id
from luthier.errors import ModelError
from luthier.types import Message


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What is written.

    Attributes:
        model: gpt2 or llama.
        pre: How text is split; for llama: default.
        tokens: By id; as many as the embedding has rows.
        kinds: Of each token.
        merges: Of gpt2: pairs with a space between.
        scores: Of llama: higher merges first.
        adds_space: Of llama: whether text begins with a space of its own.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    merges: tuple[str, ...]
    scores: tuple[float, ...]
    adds_space: bool


def read_vocabulary(tokenizer: Any, num_rows: int) -> Vocabulary:
    """From a fast tokenizer.

    Args:
        tokenizer: As trained.
        num_rows: Of the embedding.

    Raises:
        ModelError: llama.cpp has no such tokenizer, or it is not in our table.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(f"{type(tokenizer).__name__} has no tokenizer.json, from which a GGUF vocabulary is made.")
    spec = json.loads(backend.to_str())
    model = spec["model"]
    if model["type"] != "BPE":
        raise ModelError(
            f"A GGUF vocabulary is made of BPE tokenizers here; this one is {model['type']}. Use --to merged."
        )
    is_sentencepiece = bool(model.get("byte_fallback")) and "▁" in json.dumps(
        [spec["normalizer"], spec["pre_tokenizer"]], ensure_ascii=False
    )
    pre = "default" if is_sentencepiece else pre_tokenizer_name(spec)
    tokens, kinds = _tokens(spec, num_rows, is_sentencepiece=is_sentencepiece)
    pairs = [tuple(m) if not isinstance(m, str) else tuple(m.split(" ")) for m in model["merges"]]
    if not is_sentencepiece:
        return Vocabulary("gpt2", pre, tokens, kinds, tuple(" ".join(pair) for pair in pairs), (), False)
    return Vocabulary("llama", pre, tokens, kinds, (), _scores(tokens, pairs), _adds_space(spec))


def _tokens(
    spec: Mapping[str, Any], num_rows: int, *, is_sentencepiece: bool
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    vocab: dict[str, int] = spec["model"]["vocab"]
    tokens = [f"[PAD{i}]" for i in range(num_rows)]
    kinds = [int(TokenType.UNUSED)] * num_rows
    largest = max([*vocab.values(), *(t["id"] for t in spec["added_tokens"])])
    if largest >= num_rows:
        raise ModelError(f"The tokenizer has a token {largest}, but the model has {num_rows} rows for tokens.")
    for token, index in vocab.items():
        is_byte = is_sentencepiece and len(token) == 6 and token.startswith("<0x") and token.endswith(">")
        tokens[index], kinds[index] = token, int(TokenType.BYTE if is_byte else TokenType.NORMAL)
    for added in spec["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = int(TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED)
    unknown = spec["model"].get("unk_token")
    if is_sentencepiece and unknown in vocab:
        kinds[vocab[unknown]] = int(TokenType.UNKNOWN)
    return tuple(tokens), tuple(kinds)


def _scores(tokens: Sequence[str], pairs: Sequence[tuple[str, ...]]) -> tuple[float, ...]:
    """SentencePiece merges the pair whose result has the highest score: the rank of the merge that makes it, negated."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(pairs):
        ranks.setdefault("".join(pair), rank)
    worst = len(pairs)
    return tuple(-float(ranks.get(token, worst + index)) for index, token in enumerate(tokens))


def _adds_space(spec: Mapping[str, Any]) -> bool:
    text = json.dumps(spec["normalizer"], ensure_ascii=False)
    pre = spec["pre_tokenizer"] or {}
    steps = pre.get("pretokenizers", [pre])
    prepends = any(s.get("type") == "Metaspace" and s.get("prepend_scheme") in ("first", "always") for s in steps)
    return '"Prepend"' in text or prepends


@cache
def _table() -> tuple[Mapping[str, Any], ...]:
    path = Path(__file__).with_name("pre_tokenizers.yaml")
    return tuple(yaml.safe_load(path.read_text(encoding="utf-8")))


def pre_tokenizer_name(spec: Mapping[str, Any]) -> str:
    """llama.cpp's word for how a byte-level tokenizer splits text.

    Args:
        spec: The content of tokenizer.json.

    Raises:
        ModelError: It is not in the table.
    """
    normalizer = spec["normalizer"]
    kinds = {None} if normalizer is None else {n["type"] for n in normalizer.get("normalizers", [normalizer])}
    if not kinds <= {None, "NFC"}:
        raise ModelError(
            f"The tokenizer normalises text ({', '.join(sorted(map(str, kinds)))}), which llama.cpp does not do for byte-level "
            "vocabularies: it would make other tokens. Export with --to merged."
        )
    steps = _steps(spec["pre_tokenizer"])
    ignores = bool(spec["model"].get("ignore_merges"))
    for row in _table():
        wanted = [("split", step["split"]) if isinstance(step, dict) else (step, "") for step in row["steps"]]
        if steps == wanted and ignores == row["ignore_merges"]:
            return str(row["pre"])
    raise ModelError(
        "How this tokenizer splits text is not in the table of what llama.cpp knows (there: "
        + "; ".join(f"{row['pre']} – {row['families']}" for row in _table())
        + "), so it would make other tokens there. Export with --to merged and serve that."
    )


def _steps(pre: Mapping[str, Any] | None) -> list[tuple[str, str]] | None:
    if pre is None:
        return None
    steps: list[tuple[str, str]] = []
    for step in pre.get("pretokenizers", [pre]):
        kind = step["type"]
        if kind == "Split" and "Regex" in step["pattern"]:
            if (step["behavior"], step["invert"]) not in (("Isolated", False), ("Removed", True)):
                return None
            steps.append(("split", step["pattern"]["Regex"]))
        elif kind == "Digits" and step["individual_digits"]:
            steps.append(("digits", ""))
        elif kind == "ByteLevel" and not step["add_prefix_space"]:
            if step["use_regex"]:
                steps.append(("gpt2", ""))
        else:
            return None
    return steps


def as_llama_cpp_splits(pre: str) -> Any:
    """The pre-tokenizer that a name in a file stands for, from the table: to read a file back as llama.cpp does."""
    row = next(row for row in _table() if row["pre"] == pre)
    steps: list[Any] = []
    has_pattern = False
    for step in row["steps"]:
        if isinstance(step, dict):
            steps.append(pre_tokenizers.Split(Regex(step["split"]), behavior="isolated"))
        elif step == "digits":
            steps.append(pre_tokenizers.Digits(individual_digits=True))
        else:
            has_pattern = True
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=has_pattern))
    return pre_tokenizers.Sequence(steps)


def begins_with_bos(template: ChatTemplate) -> bool:
    """Whether a program has to put BOS before a prompt: the tokenizer does so itself, or the template names it.

    A template that begins with the same token for another reason (ChatML, where BOS is its marker) does not count.
    """
    bos = special_id(template.tokenizer, "bos_token")
    if bos is None:
        return False
    tokenizer: Any = template.tokenizer
    adds_itself = list(tokenizer("a").input_ids)[:1] == [bos]
    written = "bos_token" in template.template and template.prompt_ids((Message("user", "a"),))[:1] == [bos]
    return adds_itself or written


def add_vocabulary(
    writer: GGUFWriter, vocabulary: Vocabulary, template: ChatTemplate, stop_ids: Sequence[int], chat_template: str
) -> None:
    """Write it, with the ids that begin and end, and the chat template."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    if vocabulary.scores:
        writer.add_token_scores(list(vocabulary.scores))
        writer.add_add_space_prefix(vocabulary.adds_space)
    writer.add_token_types(list(vocabulary.kinds))
    if vocabulary.merges:
        writer.add_token_merges(list(vocabulary.merges))
    tokenizer = template.tokenizer
    if (bos := special_id(tokenizer, "bos_token")) is not None:
        writer.add_bos_token_id(bos)
    for add, name in ((writer.add_unk_token_id, "unk_token"), (writer.add_pad_token_id, "pad_token")):
        if (found := special_id(tokenizer, name)) is not None:
            add(found)
    for add, stop in zip(_STOP_ADDERS, order_stops(stop_ids, special_id(tokenizer, "eos_token")), strict=False):
        add(writer, stop)
    writer.add_add_bos_token(begins_with_bos(template))
    writer.add_add_eos_token(False)
    writer.add_chat_template(chat_template)


_STOP_ADDERS = (GGUFWriter.add_eos_token_id, GGUFWriter.add_eot_token_id, GGUFWriter.add_eom_token_id)
STOP_KEYS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")


def order_stops(stop_ids: Sequence[int], eos: int | None) -> list[int]:
    """The ids that end an answer, the tokenizer's EOS first where it is among them.

    Raises:
        ModelError: There are more than the file has places for.
    """
    ordered = sorted(stop_ids, key=lambda i: (i != eos, i))
    if len(ordered) > len(STOP_KEYS):
        raise ModelError(f"Answers end at {len(ordered)} different tokens; a GGUF file can name {len(STOP_KEYS)}.")
    return ordered
