"""The two kinds of request of OpenAI's interface, read and checked: chat completions and completions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from luthier.data.messages import BadRowError, messages_from_openai, read_tools
from luthier.serve.fields import Fields
from luthier.serve.limits import Limits
from luthier.serve.refusal import bad
from luthier.serve.response_format import ResponseFormat, read_response_format
from luthier.types import Message

MOST_STOPS = 4
LONGEST_STOP = 256
MOST_LIKELIEST = 20
MOST_TOOLS = 128
_SAYS_NOTHING = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key")


@dataclass(frozen=True)
class Settings:
    """What both kinds have.

    Attributes:
        model: Which one answers.
        num_answers: To each prompt (`n`).
        max_tokens: Of an answer; None for the model's own limit.
        temperature: None for the model's own; so for `top_p`.
        seed: None for another one each time.
        stops: Texts that end an answer.
        stream: Whether pieces are sent as they come.
        stream_usage: Whether the stream ends with the numbers of tokens.
        num_likeliest: Most probable tokens to name at each place; None where no log-probabilities are wanted.
    """

    model: str
    num_answers: int
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    stops: tuple[str, ...]
    stream: bool
    stream_usage: bool
    num_likeliest: int | None


@dataclass(frozen=True)
class ChatWish:
    """A request to ``/v1/chat/completions``."""

    settings: Settings
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    format: ResponseFormat | None


@dataclass(frozen=True)
class CompletionWish:
    """A request to ``/v1/completions``; a prompt is a text or token ids."""

    settings: Settings
    prompts: tuple[str | tuple[int, ...], ...]


def read_chat(body: Mapping[str, Any], limits: Limits) -> ChatWish:
    """Read a request for chat.

    Raises:
        RefusedError: A field is missing, wrong, unknown, or asks for what is not done here (400).
    """
    fields = Fields(body)
    written = fields.any("messages")
    if not isinstance(written, list) or not written:
        raise bad("messages must be a list of at least one message.", "messages")
    tools = _tools(fields)
    wants_logprobs, likeliest = fields.flag("logprobs"), fields.whole("top_logprobs", 0, MOST_LIKELIEST)
    if likeliest is not None and not wants_logprobs:
        raise bad("top_logprobs needs logprobs: true.", "top_logprobs")
    limit, newer = (fields.whole(name, 1, limits.output_tokens) for name in ("max_tokens", "max_completion_tokens"))
    if limit is not None and newer is not None and limit != newer:
        raise bad("max_tokens and max_completion_tokens differ; give one of them.", "max_tokens")
    format = read_response_format(fields.any("response_format"))
    settings = _settings(
        fields, limits, newer if limit is None else limit, (likeliest or 0) if wants_logprobs else None
    )
    fields.refuse("modalities", ["text"])
    fields.refuse("parallel_tool_calls", True)
    for name in (
        "functions",
        "function_call",
        "audio",
        "prediction",
        "reasoning_effort",
        "verbosity",
        "web_search_options",
    ):
        fields.refuse(name)
    fields.end()
    try:
        messages = messages_from_openai(written, "messages")
    except BadRowError as error:
        raise bad(str(error), "messages") from error
    if messages[-1].role == "assistant":
        raise bad("The last message is the assistant's own; there is nothing to answer.", "messages")
    return ChatWish(settings, messages, tools, format)


def read_completion(body: Mapping[str, Any], limits: Limits) -> CompletionWish:
    """Read a request for the continuation of text.

    Raises:
        RefusedError: As `read_chat`.
    """
    fields = Fields(body)
    prompts = _prompts(fields.any("prompt"))
    limit = fields.whole("max_tokens", 1, limits.output_tokens)
    settings = _settings(fields, limits, limit, fields.whole("logprobs", 0, MOST_LIKELIEST))
    fields.refuse("echo", False)
    fields.refuse("suffix", "")
    fields.refuse("best_of", settings.num_answers)
    fields.end()
    if len(prompts) * settings.num_answers > limits.choices:
        raise bad(
            f"{len(prompts)} prompts × n = {settings.num_answers} are more than {limits.choices} answers.", "prompt"
        )
    return CompletionWish(settings, prompts)


def _settings(fields: Fields, limits: Limits, max_tokens: int | None, num_likeliest: int | None) -> Settings:
    model = fields.text("model")
    if not model:
        raise bad("model is missing: name one of /v1/models.", "model")
    top_p = fields.number("top_p", 0.0, 1.0)
    if top_p == 0:
        raise bad("top_p is 0; it must be above 0.", "top_p")
    stream = fields.flag("stream")
    options = fields.any("stream_options")
    if options is not None and not (stream and isinstance(options, dict) and options.keys() <= {"include_usage"}):
        raise bad("stream_options goes with stream: true, and may hold include_usage alone.", "stream_options")
    fields.refuse("frequency_penalty", 0)
    fields.refuse("presence_penalty", 0)
    fields.refuse("logit_bias", {})
    fields.skip(_SAYS_NOTHING)
    return Settings(
        model=model,
        num_answers=fields.whole("n", 1, limits.choices) or 1,
        max_tokens=max_tokens,
        temperature=fields.number("temperature", 0.0, 2.0),
        top_p=top_p,
        seed=fields.whole("seed", -(2**63), 2**63 - 1),
        stops=_stops(fields.any("stop")),
        stream=stream,
        stream_usage=bool((options or {}).get("include_usage")),
        num_likeliest=num_likeliest,
    )


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or not all(
        isinstance(stop, str) and 0 < len(stop) <= LONGEST_STOP for stop in stops
    ):
        raise bad(f"stop must be a text or a list of texts of 1 to {LONGEST_STOP} characters.", "stop")
    if len(stops) > MOST_STOPS:
        raise bad(f"stop may hold {MOST_STOPS} texts, not {len(stops)}.", "stop")
    return tuple(stops)


def _prompts(value: Any) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value:
        if _are_ids(value):
            return (tuple(value),)
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        if all(isinstance(item, list) and item and _are_ids(item) for item in value):
            return tuple(tuple(item) for item in value)
    raise bad("prompt must be a text, a list of texts, a list of token ids, or a list of such lists.", "prompt")


def _are_ids(items: list[Any]) -> bool:
    return all(isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**31 for item in items)


def _tools(fields: Fields) -> tuple[Mapping[str, Any], ...]:
    try:
        tools = read_tools({"tools": fields.any("tools")})
    except BadRowError as error:
        raise bad(str(error), "tools") from error
    if len(tools) > MOST_TOOLS:
        raise bad(f"There may be {MOST_TOOLS} tools, not {len(tools)}.", "tools")
    for tool in tools:
        function = tool.get("function")
        if (
            tool.get("type") != "function"
            or not isinstance(function, dict)
            or not isinstance(function.get("name"), str)
        ):
            raise bad('A tool is {"type": "function", "function": {"name": …, "parameters": …}}.', "tools")
    choice = fields.any("tool_choice")
    if choice is None or choice == "auto":
        return tools
    if choice == "none":
        return ()
    raise bad(
        "tool_choice may be auto or none: the model cannot be forced to call.", "tool_choice", "unsupported_parameter"
    )
