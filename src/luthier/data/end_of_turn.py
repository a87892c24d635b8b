"""Which tokens end an assistant turn, measured from what the template writes behind an answer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from luthier.data.encoding import Encoded, TextEncoder
from luthier.data.rendering import Renderer, Rendering
from luthier.data.tokenizer_check import special_id
from luthier.types import Message

_ANSWER = "Zebra answer"
_TOOL = "zebra_tool"


def measure_end_of_turn(tokenizer: PreTrainedTokenizerBase, renderer: Renderer, encoder: TextEncoder) -> frozenset[int]:
    """The tokens behind an answer and behind a tool call, and EOS. Only EOS where the template writes none."""
    eos = special_id(tokenizer, "eos_token")
    ids = set() if eos is None else {eos}
    question, answer = Message("user", "Hello there"), Message("assistant", _ANSWER)
    # An end can be several tokens (Cohere). What is written only behind the last turn (Phi 3) and what already belongs to the
    # next turn is not in both runs; where the two have nothing in common (gpt-oss), an answer ends as the last one does.
    last = _markers_behind_answer(tokenizer, renderer, encoder, [question, answer])
    past = _markers_behind_answer(tokenizer, renderer, encoder, [question, answer, question])
    common = [a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(last, past, strict=False))]
    ids |= set((common or last)[-1:])
    ids |= set(_marker_behind_call(tokenizer, renderer, encoder, question))
    return frozenset(ids)


def _markers_behind_answer(
    tokenizer: PreTrainedTokenizerBase, renderer: Renderer, encoder: TextEncoder, messages: Sequence[Message]
) -> list[int]:
    """The first unbroken run of added tokens behind the answer."""
    probe = _probe(renderer, encoder, messages, (), _ANSWER)
    if probe is None:
        return []
    rendering, encoded = probe
    added = tokenizer.added_tokens_decoder
    behind = encoded.starts >= rendering.text.index(_ANSWER) + len(_ANSWER)
    run: list[int] = []
    expected: int | None = None
    for token, start in zip(encoded.ids[behind].tolist(), encoded.starts[behind].tolist(), strict=True):
        # White space is no marker, even where it is an added token (Gemma has one for each number of newlines).
        if token in added and added[token].content.strip() and expected in (None, start):
            run.append(token)
            expected = start + len(added[token].content)  # not where it ends: it may swallow white space (Phi 3)
        elif run:
            break
    return run


def _marker_behind_call(
    tokenizer: PreTrainedTokenizerBase, renderer: Renderer, encoder: TextEncoder, question: Message
) -> list[int]:
    """The special token that a rendering with a tool call ends with, if it does: Llama 3.1's is another than an answer's."""
    call = {"type": "function", "function": {"name": _TOOL, "arguments": {"city": "Paris"}}}
    tool = {"type": "function", "function": {"name": _TOOL, "description": "Look", "parameters": {}}}
    messages = [question, Message("assistant", "", tool_calls=(call,))]
    probe = _probe(renderer, encoder, messages, [tool], _TOOL)
    if probe is None:
        return []
    rendering, encoded = probe
    last = int((encoded.starts < len(rendering.text.rstrip())).sum()) - 1
    token = int(encoded.ids[last])
    added = tokenizer.added_tokens_decoder
    behind_call = int(encoded.starts[last]) > rendering.text.rindex(_TOOL)
    return [token] if behind_call and token in added and added[token].special else []


def _probe(
    renderer: Renderer, encoder: TextEncoder, messages: Sequence[Message], tools: Sequence[dict[str, object]], text: str
) -> tuple[Rendering, Encoded] | None:
    """Render and tokenise; None if the template refuses it or leaves `text` out."""
    prepared = renderer.prepare(messages, tools)
    rendering = renderer.try_render(prepared, len(prepared.messages))
    if rendering is None or text not in rendering.text:
        return None
    return rendering, encoder.encode(rendering)
