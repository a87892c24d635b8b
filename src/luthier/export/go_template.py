"""A chat template in Go's language, which Ollama renders, made from what the trained one writes.

No table of families: the trained template is asked what it writes between messages, depending on who spoke before, and a Go
template is built that writes the same. Whether it does is tested by rendering it with the small interpreter below, which knows
just the statements that are used here. A template that is not of that kind (it repeats a system message, counts turns) is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from luthier.errors import ModelError

Messages = Sequence[Mapping[str, Any]]
Render = Callable[[Messages], str]
"""Messages to the text of a prompt, generation prompt included."""

_START = ""


class Glue(NamedTuple):
    """What a template writes: before a message of a role, by the role before it, and at the end."""

    before: Mapping[tuple[str, str], str]
    end: str


def build_go_template(render: Render, *, has_system: bool) -> str:
    """A Go template that writes what `render` does.

    Args:
        render: The trained template.
        has_system: Whether it takes system messages.

    Raises:
        ModelError: It cannot be written that way.
    """
    glue = _glue(render, has_system=has_system)
    text = _go_text(glue)
    for messages in _examples(has_system=has_system):
        if render_go(text, messages) != render(messages):
            raise ModelError(
                "The chat template writes more than text around messages (it repeats or moves some of them), so it has no "
                "translation into the Go template that Ollama needs. Use --to gguf: llama.cpp reads the template as it is."
            )
    return text


def _message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


def _examples(*, has_system: bool) -> list[list[dict[str, Any]]]:
    turns = [
        _message("user", "Hello there"),
        _message("assistant", "Hi. What is it?"),
        _message("user", "Nothing\nmuch"),
        _message("assistant", "Well."),
        _message("user", "So?"),
    ]
    plain = [turns[:1], turns[:3], turns]
    return plain + ([[_message("system", "Be brief."), *t] for t in plain] if has_system else [])


def _glue(render: Render, *, has_system: bool) -> Glue:
    first, second, answer, system = "QfirstQ", "QsecondQ", "QanswerQ", "QsystemQ"
    alone = _split(render([_message("user", first)]), first)
    talk = [_message("user", first), _message("assistant", answer), _message("user", second)]
    start, answered, again, end = _split(render(talk), first, answer, second)
    if (start, end) != alone:
        raise ModelError(
            "The chat template begins or ends a prompt otherwise after several turns, which Go's cannot follow."
        )
    before = {("user", _START): start, ("assistant", "user"): answered, ("user", "assistant"): again}
    if has_system:
        parts = _split(render([_message("system", system), _message("user", first)]), system, first)
        before |= {("system", _START): parts[0], ("user", "system"): parts[1]}
    return Glue(before, end)


def _split(text: str, *marks: str) -> tuple[str, ...]:
    parts: list[str] = []
    for mark in marks:
        head, found, text = text.partition(mark)
        if not found:
            raise ModelError("The chat template changes or leaves out messages, so it cannot be translated for Ollama.")
        parts.append(head)
    return (*parts, text)


def _go_text(glue: Glue) -> str:
    for piece in (*glue.before.values(), glue.end):
        if "{{" in piece or "}}" in piece or '"""' in piece:
            raise ModelError(f"The chat template writes {piece!r}, which cannot stand in a Go template.")
    text = '{{ $before := "" }}{{ range .Messages }}'
    for role in ("system", "user", "assistant"):
        cases = [(previous, piece) for (to, previous), piece in glue.before.items() if to == role]
        if not cases:
            continue
        text += f'{{{{ if eq .Role "{role}" }}}}'
        for previous, piece in cases:
            text += f'{{{{ if eq $before "{previous}" }}}}{piece}{{{{ end }}}}'
        text += "{{ .Content }}{{ end }}"
    text += "{{ $before = .Role }}{{ end }}"
    return text + '{{ if ne $before "assistant" }}' + glue.end + "{{ end }}"


def render_go(text: str, messages: Messages) -> str:
    """What Go's text/template makes of a template of `build_go_template`'s; other statements are an assertion's fault."""
    tokens = re.split(r"(\{\{ .*? \}\})", text)
    written: list[str] = []
    _run(tokens, 0, len(tokens), {"Messages": messages}, {}, written)
    return "".join(written)


def _run(tokens: Sequence[str], start: int, stop: int, dot: Any, variables: dict[str, str], written: list[str]) -> None:
    at = start
    while at < stop:
        token = tokens[at]
        if not token.startswith("{{ "):
            written.append(token)
        elif token == "{{ range .Messages }}":
            end = _end(tokens, at)
            for message in dot["Messages"]:
                _run(tokens, at + 1, end, message, variables, written)
            at = end
        elif found := re.fullmatch(r'\{\{ if (eq|ne) (\S+) "(.*)" \}\}', token):
            end = _end(tokens, at)
            if (_value(found[2], dot, variables) == found[3]) == (found[1] == "eq"):
                _run(tokens, at + 1, end, dot, variables, written)
            at = end
        elif token == "{{ .Content }}":
            written.append(dot["content"])
        else:
            assigned = re.fullmatch(r'\{\{ (\$\w+) :?= (?:"(.*)"|(\.Role)) \}\}', token)
            assert assigned is not None, token
            variables[assigned[1]] = dot["role"] if assigned[3] else assigned[2]
        at += 1


def _value(name: str, dot: Any, variables: Mapping[str, str]) -> str:
    return str(dot["role"]) if name == ".Role" else variables[name]


def _end(tokens: Sequence[str], opening: int) -> int:
    depth = 0
    for at in range(opening, len(tokens)):
        if tokens[at].startswith(("{{ range", "{{ if")):
            depth += 1
        elif tokens[at] == "{{ end }}":
            depth -= 1
            if depth == 0:
                return at
    raise AssertionError(tokens[opening])
