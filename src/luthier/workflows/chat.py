"""A conversation with a run: base and tuned model in turn or side by side, on one model in memory. Prints nothing.

Each speaker remembers its own answers. A turn that only one of them answered is remembered by both with that answer, so that
one can switch in the middle of a conversation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from luthier.errors import InputError
from luthier.generate.protocol import Request
from luthier.generate.requests import build_request
from luthier.runs.atomic import write_text
from luthier.types import Message
from luthier.workflows.load_run import LoadedRun

Speaker = Literal["base", "tuned"]
Mode = Literal["base", "tuned", "both"]
SPEAKERS: dict[Mode, tuple[Speaker, ...]] = {"base": ("base",), "tuned": ("tuned",), "both": ("base", "tuned")}


class Piece(NamedTuple):
    """The next part of the text of an answer."""

    speaker: Speaker
    text: str


class PromptToken(NamedTuple):
    """One token as the model sees it. `part`: a control token, the rest of the prompt, or the answer to it."""

    id: int
    text: str
    part: Literal["control", "prompt", "answer"]


@dataclass
class Answer:
    """One speaker's answer.

    Attributes:
        prompt_ids: What the model was given, special tokens included.
        ended_by: The model's own end of turn ("stop"), the length limit ("length"), or the user ("stopped").
        num_tokens: Of the answer; a server tells them without their ids.
    """

    prompt_ids: tuple[int, ...]
    token_ids: list[int] = field(default_factory=list)
    text: str = ""
    ended_by: Literal["stop", "length", "stopped"] = "stopped"
    num_tokens: int = 0


@dataclass
class Turn:
    """A message of the user with the answers to it."""

    message: str
    answers: dict[Speaker, Answer] = field(default_factory=dict)


def turn_to_json(turn: Turn) -> dict[str, Any]:
    """Plain values for ``--json``."""
    answers = {
        speaker: {"text": answer.text, "ended_by": answer.ended_by, "num_tokens": answer.num_tokens}
        for speaker, answer in turn.answers.items()
    }
    return {"message": turn.message, "answers": answers}


class ChatSession:
    """The state of a conversation.

    Args:
        run: From `load_run`.
        max_new_tokens: Longest answer; None for the run's own limit.

    Attributes:
        mode: Who answers.
        system: System prompt; None for the run's own.
        temperature: 0 takes the most probable token.
        turns: The conversation so far.
    """

    def __init__(self, run: LoadedRun, *, max_new_tokens: int | None = None) -> None:
        if max_new_tokens is not None and max_new_tokens < 1:
            raise InputError(f"The longest answer must have at least 1 token, not {max_new_tokens}.")
        self._run, self._max_new_tokens = run, max_new_tokens
        self._num_asked = 0
        self.mode: Mode = "tuned"
        self.system: str | None = None
        self.temperature = run.contract.temperature
        self.turns: list[Turn] = []

    @property
    def name(self) -> str:
        """Of the run."""
        return self._run.folder.name

    @property
    def base_is_another_model(self) -> bool:
        """Whether the base model is loaded beside the tuned one, at the first question to it (full fine-tuning)."""
        return self._run.recipe.is_full

    def ask(self, message: str) -> Generator[Piece, None, None]:
        """Answer a message, speaker after speaker; closing the iterator ends the answer and keeps what there is of it.

        Raises:
            InputError: The template refuses the messages, or they are too long for the model; nothing is remembered.
        """
        requests: dict[Speaker, Request] = {s: self._request(s, message) for s in SPEAKERS[self.mode]}
        turn = Turn(message)
        try:
            for speaker, request in requests.items():
                with closing(self._stream(speaker, request, turn)) as texts:
                    for text in texts:
                        yield Piece(speaker, text)
        finally:
            if turn.answers:
                self._num_asked += 1
                self.turns.append(turn)

    def answer(self, message: str) -> Turn:
        """Answer a message and return when the answers are whole."""
        for _ in self.ask(message):
            pass
        return self.turns[-1]

    def _stream(self, speaker: Speaker, request: Request, turn: Turn) -> Generator[str, None, None]:
        answer = Answer(request.prompt_ids)
        engine = self._run.engine() if speaker == "tuned" else self._run.base_engine()
        with closing(engine.stream(request)) as tokens:
            for token in tokens:
                turn.answers[speaker] = answer
                answer.token_ids.append(token)
                answer.num_tokens += 1
                text = self._run.template.decode(answer.token_ids)
                # A character of several tokens shows as U+FFFD until it is whole.
                if not text.endswith("\ufffd") and text != answer.text:
                    new, answer.text = text[len(answer.text) :], text
                    yield new
        answer.ended_by = "stop" if answer.token_ids[-1] in request.stop_ids else "length"
        text = self._run.template.decode(answer.token_ids)
        if text != answer.text:
            new, answer.text = text[len(answer.text) :], text
            yield new

    def _request(self, speaker: Speaker, message: str) -> Request:
        return build_request(
            self._run.contract,
            self._run.template,
            self.messages(speaker, message),
            max_new_tokens=self._max_new_tokens,
            temperature=self.temperature,
            seed=self._num_asked,
            use_adapter=speaker == "tuned",
        )

    def messages(self, speaker: Speaker, message: str | None = None) -> tuple[Message, ...]:
        """The conversation as a speaker remembers it, and a next message."""
        messages: list[Message] = [] if self.system is None else [Message("system", self.system)]
        for turn in self.turns:
            answer = turn.answers.get(speaker) or next(iter(turn.answers.values()))
            messages += [Message("user", turn.message), Message("assistant", answer.text)]
        if message is not None:
            messages.append(Message("user", message))
        return tuple(messages)

    def set_system(self, text: str | None) -> None:
        """Set the system prompt from the next message on; None for the run's own.

        Raises:
            InputError: The chat template takes no system message.
        """
        if text is not None:
            self._run.template.prompt_ids((Message("system", text), Message("user", "?")))
        self.system = text

    def set_temperature(self, value: float) -> None:
        """Set how freely tokens are drawn.

        Raises:
            InputError: It is below 0 or no number.
        """
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"The temperature must be 0 (the most probable token) or above, not {value:g}.")
        self.temperature = value

    def reset(self) -> None:
        """Forget the conversation; settings stay."""
        self.turns.clear()

    def prompt_tokens(self, speaker: Speaker, message: str | None = None) -> list[PromptToken]:
        """What the model was given in the last turn, with its answer; with a message: what it would be given next.

        Raises:
            InputError: Nothing has been said yet and no message is given, or the template refuses the messages.
        """
        if message is not None:
            prompt, answer = self._request(speaker, message).prompt_ids, []
        elif self.turns:
            answers = self.turns[-1].answers
            last = answers.get(speaker) or next(iter(answers.values()))
            prompt, answer = last.prompt_ids, last.token_ids
        else:
            raise InputError("Nothing has been said yet. Say something first, or give a text: /tokens TEXT")
        added = self._run.tokenizer.added_tokens_decoder
        control = {i for i, token in added.items() if token.special} | self._run.contract.stop_ids
        return [
            *(PromptToken(i, self._token_text(i), "control" if i in control else "prompt") for i in prompt),
            *(PromptToken(i, self._token_text(i), "answer") for i in answer),
        ]

    def _token_text(self, token: int) -> str:
        text = str(self._run.tokenizer.decode([token], clean_up_tokenization_spaces=False))
        # Part of a character: its own name in the vocabulary says more than a replacement sign.
        return str(self._run.tokenizer.convert_ids_to_tokens(token)) if "\ufffd" in text or not text else text

    def save(self, path: Path) -> None:
        """Write the conversation: .jsonl one line of messages per speaker (to train on or to read), .md to read.

        Raises:
            InputError: The file exists already, has another ending, or nothing has been said.
        """
        if not self.turns:
            raise InputError("Nothing has been said yet, so there is nothing to save.")
        if path.suffix not in (".jsonl", ".md"):
            raise InputError(f"{path.name}: save as .jsonl (messages, one line per speaker) or as .md (to read).")
        if path.exists():
            raise InputError(f"{path} exists already; choose another name.")
        if not path.absolute().parent.is_dir():
            raise InputError(f"There is no folder {path.absolute().parent}.")
        write_text(path, self._as_markdown() if path.suffix == ".md" else self._as_json_lines())

    def _as_json_lines(self) -> str:
        speakers: dict[Speaker, None] = dict.fromkeys(speaker for turn in self.turns for speaker in turn.answers)
        lines: list[dict[str, Any]] = []
        for speaker in speakers:
            messages = [{"role": m.role, "content": m.content} for m in self.messages(speaker)]
            lines.append({"messages": messages, "model": speaker, "run": self.name, "temperature": self.temperature})
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)

    def _as_markdown(self) -> str:
        parts = [f"# Chat with {self.name}"]
        if self.system is not None:
            parts.append(f"**system**: {self.system}")
        for turn in self.turns:
            parts.append(f"**user**: {turn.message}")
            parts += [f"**{speaker}**: {answer.text}" for speaker, answer in turn.answers.items()]
        return "\n\n".join(parts) + "\n"
