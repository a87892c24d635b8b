"""The chat template as training, evaluation and serving use it: messages in, token ids and a training mask out.

One object renders for all of them, so that training tokens equal serving tokens. `serving_mismatch` tests that they do.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from luthier.data.beginnings import Beginnings
from luthier.data.chatml import ChatmlSetup, set_up_chatml, wants_bos
from luthier.data.encoding import Encoded, TextEncoder
from luthier.data.end_of_turn import measure_end_of_turn
from luthier.data.mask import TurnSpan
from luthier.data.rendering import PINNED_DATE, Renderer, Rendering, pin_date
from luthier.data.tokenizer_check import decode_text, special_id, tokenizer_fingerprint
from luthier.data.views import Rendered, Views, num_shown
from luthier.errors import DataError, ModelError
from luthier.types import Conversation, Document, Message


class ChatTemplate:
    """A tokenizer with its chat template and all that the template is rendered with. Make it with `from_tokenizer`.

    Attributes:
        tokenizer: The model's tokenizer.
        template: Jinja text; a template that asks for today's date carries a fixed one (see `rendering.pin_date`).
        template_kwargs: Variables that the template is rendered with.
        default_system_prompt: Put before conversations that have no system message, in training and in serving.
        end_of_turn_ids: Tokens that end an assistant turn: those that the template writes, and EOS.
        stop_ids: Where `decode` ends an answer: these, and what the inference contract adds.
        chatml: How the markers were chosen, where ChatML was put on a base model; else None.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str,
        template_kwargs: Mapping[str, Any],
        system_prompt: str | None,
        chatml: ChatmlSetup | None,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.template_kwargs = dict(template_kwargs)
        self.default_system_prompt = system_prompt
        self.chatml = chatml
        self._renderer = Renderer(tokenizer, template, template_kwargs, system_prompt)
        self._encoder = TextEncoder(tokenizer)
        self.wants_bos = wants_bos(tokenizer)
        self.end_of_turn_ids = measure_end_of_turn(tokenizer, self._renderer, self._encoder)
        self.stop_ids = self.end_of_turn_ids
        self._views = Views(self._renderer, self._encoder, self.end_of_turn_ids)
        special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._renderer.set_control_tokens([*special, *tokenizer.convert_ids_to_tokens(sorted(self.end_of_turn_ids))])

    @classmethod
    def from_tokenizer(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: str = "auto",
        system_prompt: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
        date: datetime.date = PINNED_DATE,
    ) -> ChatTemplate:
        """Make one.

        Args:
            tokenizer: The model's tokenizer. Where ChatML needs tokens that it lacks, they are added to it; see `chatml`.
            template: auto (the tokenizer's own, ChatML where it has none), chatml, jinja text, or the path of a jinja file.
            system_prompt: Put before conversations that have no system message.
            template_kwargs: Variables for the template, such as ``enable_thinking``.
            date: What a template is told when it asks for today; always the same, or tokens would change overnight.

        Raises:
            ModelError: There is no such template, or the tokenizer cannot tell where its tokens stand in the text.
        """
        chatml = None
        if template == "auto":
            text = _own_template(tokenizer)
        elif template == "chatml":
            text = None
        else:
            text = _given_template(template)
        if text is None:
            chatml = set_up_chatml(tokenizer)
            text = chatml.template
        return cls(tokenizer, pin_date(text, date), template_kwargs or {}, system_prompt, chatml)

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """Identifies the tokenizer alone."""
        return tokenizer_fingerprint(self.tokenizer)

    @property
    def fingerprint(self) -> str:
        """Equal for objects that give equal tokens; the same in every process. 16 hexadecimal digits."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        parts = {
            "template": self.template,
            "template_kwargs": self.template_kwargs,
            "system_prompt": self.default_system_prompt,
            "tokenizer": self.tokenizer_fingerprint,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    # -- training ------------------------------------------------------------------------------------------------------

    def encode(self, conversation: Conversation) -> Rendered:
        """The whole conversation, rendered once; each trained turn is learnt as it stands there.

        Templates that rewrite the past (Qwen 3, R1) show earlier turns without their thinking: `encode_turns` then gives
        each turn as it is generated. `serving_mismatch` says whether it matters.

        Raises:
            DataError: The template refuses the row, or a trained turn has no place or no end in it.
        """
        with _naming_row(conversation):
            return self._views.whole(self._views.begin(conversation.messages, conversation.tools))[0]

    def encode_turns(self, conversation: Conversation) -> tuple[Rendered, ...]:
        """The conversation so that every trained turn is learnt in the form in which it is generated.

        One rendering where the template leaves the past as it is (it learns the same tokens as `encode`'s); more where it
        rewrites it: the last turns with all that stands before them, and each turn that is shown otherwise there, with what
        stands before that. Messages behind the last trained turn are left out.

        Raises:
            DataError: As `encode`.
        """
        with _naming_row(conversation):
            views = self._views.by_turn(self._views.begin(conversation.messages, conversation.tools))
        return tuple(rendered for rendered, _ in views)

    def encode_rows(self, rows: Sequence[Conversation | Document]) -> list[tuple[Rendered, ...] | DataError]:
        """`encode_turns` or `encode_document` of many rows in one go, which is faster; a refused row gives its error."""
        begun = [self._begin_row(row) for row in rows]
        renderings = [first for first, _ in (b for b in begun if not isinstance(b, DataError))]
        encoded = iter(self._encoder.encode_many(renderings))
        result: list[tuple[Rendered, ...] | DataError] = []
        for row, begin in zip(rows, begun, strict=True):
            if isinstance(begin, DataError):
                result.append(begin)
                continue
            rendering, beginnings = begin
            tokens = next(encoded)
            try:
                if beginnings is None:
                    result.append((self._document(rendering.text, tokens),))
                else:
                    with _naming_row(row):
                        result.append(tuple(rendered for rendered, _ in self._views.by_turn(beginnings, tokens)))
            except DataError as error:
                result.append(error)
        return result

    def _begin_row(self, row: Conversation | Document) -> tuple[Rendering, Beginnings | None] | DataError:
        """What is tokenised first of a row."""
        if isinstance(row, Document):
            return Rendering(row.text, self._renderer.find_literals(row.text)), None
        try:
            with _naming_row(row):
                beginnings = self._views.begin(row.messages, row.tools)
                return beginnings.render(num_shown(beginnings.prepared)), beginnings
        except DataError as error:
            return error

    def encode_document(self, document: Document) -> Rendered:
        """Running text: BOS first where the model wants one, EOS at the end, all of it learnt.

        Raises:
            DataError: The tokenizer has no EOS.
        """
        rendering = Rendering(document.text, self._renderer.find_literals(document.text))
        return self._document(document.text, self._encoder.encode(rendering))

    def _document(self, text: str, body: Encoded) -> Rendered:
        eos = special_id(self.tokenizer, "eos_token")
        if eos is None:
            raise DataError(
                "The tokenizer has no eos_token, so a document cannot be ended. Set one (tokenizer.eos_token = …)."
            )
        bos = [special_id(self.tokenizer, "bos_token")] if self.wants_bos else []
        ids = np.concatenate([np.asarray(bos, dtype=np.int32), body.ids, np.asarray([eos], dtype=np.int32)])
        return Rendered(ids, np.ones(len(ids), dtype=np.bool_), text)

    # -- serving -------------------------------------------------------------------------------------------------------

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """What a model is prompted with, to answer the last of `messages`.

        Raises:
            DataError: The template refuses the messages.
        """
        beginnings = self._views.begin(messages, tools)
        return self._views.view(
            beginnings, len(beginnings.prepared.messages), generation_prompt=True
        ).encoded.ids.tolist()

    def decode(self, ids: Iterable[int]) -> str:
        """The text of an answer: up to the token that stopped it, without that."""
        answer: list[int] = []
        for token in ids:
            if int(token) in self.stop_ids:
                break
            answer.append(int(token))
        return decode_text(self.tokenizer, answer)

    # -- checks --------------------------------------------------------------------------------------------------------

    def serving_mismatch(self, conversation: Conversation, *, by_turn: bool = False) -> str | None:
        """Why training tokens differ from serving tokens for some trained assistant turn; None if they are equal.

        Args:
            conversation: The row.
            by_turn: Whether it is trained as `encode_turns` gives it, not as `encode` does.

        Raises:
            DataError: As `encode`.
        """
        with _naming_row(conversation):
            beginnings = self._views.begin(conversation.messages, conversation.tools)
            views = self._views.by_turn(beginnings) if by_turn else [self._views.whole(beginnings)]
            for rendered, spans in views:
                for span in spans:
                    problem = self._turn_mismatch(beginnings, rendered, span)
                    if problem is not None:
                        return problem
        return None

    def _turn_mismatch(self, beginnings: Beginnings, rendered: Rendered, span: TurnSpan) -> str | None:
        if beginnings.prepared.messages[span.message].role != "assistant":
            return None
        where = f"message {span.message + 1} (assistant)"
        if span.message == 0 or beginnings.try_render(span.message, generation_prompt=True) is None:
            return f"{where}: a server cannot prompt for it: the template refuses the messages before it"
        served = self._views.view(beginnings, span.message, generation_prompt=True).encoded.ids
        learnt = rendered.ids[: span.first_token]
        if not np.array_equal(served, learnt):
            common = int(np.argmin(np.append(served[: len(learnt)] == learnt[: len(served)], False)))
            return (
                f"{where}: behind {common} equal tokens the server's prompt goes on with "
                f"{self._show(served[common:])}, training with {self._show(rendered.ids[common:])}. "
                "Give a template (model.chat_template) that shows an answer behind the same text that it prompts with"
            )
        if not span.exact:
            return f"{where}: the template shows it otherwise once other messages follow; learn it with encode_turns"
        return None

    @property
    def has_markers(self) -> bool:
        """Whether the template says itself, with {% generation %}, what is generated."""
        return re.search(r"\{%-?\s*generation\s*-?%\}", self.template) is not None

    def marker_mismatch(self, conversation: Conversation) -> str | None:
        """Hold the mask against the template's own {% generation %} markers; None if it has none or they agree.

        The mask does not depend on them. Some authors put the generation prompt inside the markers, or the end outside.

        Raises:
            DataError: As `encode`.
        """
        if not self.has_markers:
            return None
        beginnings = self._views.begin(conversation.messages, conversation.tools)
        prepared = beginnings.prepared
        if prepared.has_literals:
            return None
        assistants = [i for i, m in enumerate(prepared.messages) if m.role == "assistant"]
        rendered, _ = self._views.encode(beginnings, len(prepared.messages), assistants)
        ours, theirs = rendered.trained, self._renderer.marker_mask(prepared)
        if len(ours) != len(theirs):
            return None  # cut at an answer's start, which transformers' markers know nothing of
        more = [
            int(t) for t in np.flatnonzero(theirs & ~ours) if decode_text(self.tokenizer, [rendered.ids[t]]).strip()
        ]
        less = np.flatnonzero(ours & ~theirs)
        if not more and len(less) == 0:
            return None
        return (
            "the template's generation markers and its messages disagree: the markers add "
            f"{self._show(rendered.ids[more])} and leave out {self._show(rendered.ids[less])}"
        )

    def special_tokens_in_content(self, conversation: Conversation) -> list[str]:
        """Control-token strings that stand in the row's own text. They stay plain text, in training and in serving."""
        found: list[str] = []
        for message in conversation.messages:
            for text in (
                message.content,
                message.thinking or "",
                json.dumps(message.tool_calls, ensure_ascii=False, default=dict),
            ):
                found += self._renderer.find_control_tokens(text)
        return found

    def num_thinking_tokens_lost(self, conversation: Conversation, *, by_turn: bool = False) -> int:
        """Tokens of reasoning in the row (the thinking field, or <think> … </think>) that are not shown.

        Args:
            conversation: The row.
            by_turn: Whether it is trained as `encode_turns` gives it, not as `encode` does.
        """
        views = self.encode_turns(conversation) if by_turn else (self.encode(conversation),)
        text = "\0".join(view.text for view in views)
        written = [t for m in conversation.messages for t in [m.thinking or "", *_INLINE_THINKING.findall(m.content)]]
        lost = [thinking for thinking in written if thinking.strip() not in text]
        return sum(len(self._encoder.encode(Rendering(thinking)).ids) for thinking in lost)

    def _show(self, ids: Sequence[int] | NDArray[np.int32]) -> str:
        return repr(decode_text(self.tokenizer, ids[:12]))


_INLINE_THINKING = re.compile(r"<think>(.+?)</think>", re.DOTALL)


@contextmanager
def _naming_row(conversation: Conversation | Document) -> Iterator[None]:
    """Put the row's place in front of what is wrong with it."""
    try:
        yield
    except DataError as error:
        if conversation.source is None:
            raise
        raise DataError(f"{conversation.source}: {error}") from error


def _own_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    own = tokenizer.chat_template
    if isinstance(own, Mapping):
        return own.get("default") or next(iter(own.values()), None)
    return own or None


def _given_template(template: str) -> str:
    if "{{" in template or "{%" in template:
        return template
    path = Path(template)
    if not path.is_file():
        raise ModelError(
            f"There is no chat template file {template!r}. model.chat_template is auto, chatml, or the path of a jinja file."
        )
    return path.read_text(encoding="utf-8")
