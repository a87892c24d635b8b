"""Conversations → rows of a layout: the way back from `layouts.py`, and what each layout cannot say.

    messages           everything
    sharegpt           no names, reasoning, ids of calls, or text beside a call
    alpaca             questions and answers in turn, all of them learnt, and a system message before them; nothing else
    prompt_completion  one answer that is learnt: earlier ones become context

What a row loses is named by `Said.lost`; a row that a layout cannot say at all has no `values`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from luthier.types import Conversation, Message

_SHAREGPT_NAMES = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


class Said(NamedTuple):
    """A conversation as a row.

    Attributes:
        values: The row; None where the layout has no way to say it.
        lost: What of the conversation is not in the row, or why there is none.
    """

    values: dict[str, Any] | None
    lost: tuple[str, ...] = ()


class Target(NamedTuple):
    """A layout to write.

    Attributes:
        say: The function.
        parts: The columns that it writes.
    """

    say: Callable[[Conversation], Said]
    parts: tuple[str, ...]


def as_messages(conversation: Conversation) -> Said:
    """OpenAI's layout."""
    values: dict[str, Any] = {"messages": [_openai(message) for message in conversation.messages]}
    if conversation.tools:
        values["tools"] = list(conversation.tools)
    return Said(values)


def _openai(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        said["name"] = message.name
    if message.thinking is not None:
        said["reasoning_content"] = message.thinking
    if message.tool_calls:
        said["tool_calls"] = [_openai_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    if message.role == "assistant" and (message.train is not None or message.weight is not None):
        said["weight"] = _weight(message)
    return said


def _weight(message: Message) -> float:
    return int(message.is_trained) if message.weight is None else message.weight


def _openai_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    said = {"name": function["name"], "arguments": json.dumps(function["arguments"], ensure_ascii=False)}
    identity = {"id": call["id"]} if "id" in call else {}
    return {**identity, "type": "function", "function": said}


def as_sharegpt(conversation: Conversation) -> Said:
    """ShareGPT's layout."""
    lost: list[str] = []
    spoken: list[dict[str, Any]] = []
    for message in conversation.messages:
        lost += _unsaid(message, ("name", "thinking", "tool_call_id"))
        said: dict[str, Any] = {"from": _SHAREGPT_NAMES[message.role], "value": message.content}
        if message.tool_calls:
            if message.content:
                lost.append("text beside a tool call")
            if any("id" in call for call in message.tool_calls):
                lost.append("ids of tool calls")
            calls = [
                {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}
                for call in message.tool_calls
            ]
            content = calls[0] if len(calls) == 1 else calls
            said = {"from": "function_call", "value": json.dumps(content, ensure_ascii=False)}
        if message.role == "assistant" and (message.train is not None or message.weight is not None):
            said["weight"] = _weight(message)
        spoken.append(said)
    values: dict[str, Any] = {"conversations": spoken}
    if conversation.tools:
        values["tools"] = json.dumps(list(conversation.tools), ensure_ascii=False)
    return Said(values, tuple(dict.fromkeys(lost)))


def as_alpaca(conversation: Conversation) -> Said:
    """Alpaca's layout."""
    system, turns = _apart(conversation.messages)
    roles = [message.role for message in turns]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        return Said(None, ("rows that are not questions and answers in turn",))
    if not turns[-2].content.strip():
        return Said(None, ("rows whose last question is empty",))
    if any(message.tool_calls for message in turns):
        return Said(None, ("rows with tool calls",))
    lost = [what for m in conversation.messages for what in _unsaid(m, ("name", "thinking", "tool_call_id"))]
    if any(m.train is False and m.role == "assistant" for m in turns):
        lost.append("weights (answers that are not learnt)")
    if any(m.weight is not None for m in turns):
        lost.append("weights of answers")
    if conversation.tools:
        lost.append("tools")
    values: dict[str, Any] = {"instruction": turns[-2].content, "input": "", "output": turns[-1].content}
    if system is not None:
        if not system.content.strip():
            lost.append("empty system messages")
        values["system"] = system.content
    if len(turns) > 2:
        values["history"] = [[turns[i].content, turns[i + 1].content] for i in range(0, len(turns) - 2, 2)]
    return Said(values, tuple(dict.fromkeys(lost)))


def as_prompt_completion(conversation: Conversation) -> Said:
    """Prompt and completion, both as messages."""
    messages = conversation.messages
    last = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
    start = last
    while start > 0 and messages[start - 1].role in ("assistant", "tool"):
        start -= 1
    if start < 1:
        return Said(None, ("rows without a question before the answer",))
    lost = ["training of earlier answers"] if any(m.is_trained for m in messages[:start]) else []
    if not any(m.is_trained for m in messages[start:]):
        return Said(None, ("rows whose last answer is not learnt",))
    prompt = [{k: v for k, v in _openai(m).items() if k != "weight"} for m in messages[:start]]
    values: dict[str, Any] = {"prompt": prompt, "completion": [_openai(m) for m in messages[start:]]}
    if conversation.tools:
        values["tools"] = list(conversation.tools)
    return Said(values, tuple(lost))


def plain_prompt(values: dict[str, Any]) -> dict[str, Any] | None:
    """A row of prompt and completion with texts instead of messages, where that says the same; else None."""
    prompt, completion = values["prompt"], values["completion"]
    system = prompt[0]["content"] if prompt[0]["role"] == "system" else None
    asked = prompt if system is None else prompt[1:]
    is_plain = (
        len(asked) == len(completion) == 1
        and asked[0].keys() == completion[0].keys() == {"role", "content"}
        and asked[0]["role"] == "user"
        and asked[0]["content"].strip()
        and (system is None or (prompt[0].keys() == {"role", "content"} and system.strip()))
    )
    if not is_plain:
        return None
    texts = {"prompt": asked[0]["content"], "completion": completion[0]["content"]}
    return {**({} if system is None else {"system": system}), **{**values, **texts}}


def _apart(messages: Sequence[Message]) -> tuple[Message | None, Sequence[Message]]:
    """The system message at the beginning, and the rest."""
    if messages and messages[0].role == "system":
        return messages[0], messages[1:]
    return None, messages


def _unsaid(message: Message, fields: Sequence[str]) -> list[str]:
    names = {"name": "names of speakers", "thinking": "reasoning", "tool_call_id": "ids of tool calls"}
    return [names[field] for field in fields if getattr(message, field) is not None]


TARGETS: dict[str, Target] = {
    "messages": Target(as_messages, ("messages", "tools")),
    "sharegpt": Target(as_sharegpt, ("conversations", "tools")),
    "alpaca": Target(as_alpaca, ("instruction", "input", "output", "system", "history")),
    "prompt_completion": Target(as_prompt_completion, ("prompt", "completion", "system", "tools")),
}
