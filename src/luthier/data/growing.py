"""All beginnings of a conversation from one run of its template, where what the template writes grows by appending.

A server sees every beginning of a conversation, so the training mask needs the rendering of each. To render each takes a time
that grows with the square of the turns. Most templates are a loop over the messages with something constant behind it: what
such a template writes for the first messages is what it has written when its loop asks for the next one.

That this is so is proved, not assumed, for each template and each conversation:

- *The end is constant*, by the template's syntax tree: it has one loop over the messages, and what stands behind the loop names
  nothing that the messages or the loop could change.
- *No look ahead*, by watching the run: messages are given out by an object that notes each look at one whose turn has not
  come (``messages[-1]``, ``messages | length``, ``loop.last``). Up to where message i is first looked at, the run is the same
  whether there is a message i or not.

Where one of the two does not hold, the answer is None and the caller renders each beginning by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import nodes
from jinja2.runtime import LoopContext

from luthier.data.run_template import TEMPLATE_FAULTS, TemplateProgram, quick_look_up

_PROBE = {"role": "user", "content": "Hello there"}
_UNKNOWN = -1
_NO_END = 1 << 60
_LOOKS_AT_NEXT = ("last", "nextitem")
_LOOKS_AT_ALL = ("length", "revindex", "revindex0")
_OTHER_SOURCES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)
_NEVER_BEHIND_LOOP = frozenset({"messages", "tools", "documents", "loop", "self", "caller"})


class Growth(NamedTuple):
    """What a template writes for a conversation, without the constant end.

    Attributes:
        text: For all messages.
        lengths: ``text[: lengths[i]]`` is what it writes for the first i messages, without the end; -1 where that is not known.
    """

    text: str
    lengths: tuple[int, ...]


class GrowingTemplate:
    """A template whose output grows by appending. Make it with `prove`."""

    def __init__(self, program: TemplateProgram) -> None:
        self._program = program
        self._ends: dict[bool, str] = {}
        program.environment.getattr = _noting(program.environment.getattr)
        program.environment.getitem = _noting(program.environment.getitem)

    @classmethod
    def prove(cls, text: str, variables: Mapping[str, Any]) -> GrowingTemplate | None:
        """One, if the template's syntax shows that what it writes behind its loop is constant.

        Args:
            text: Jinja.
            variables: As for `TemplateProgram.compile`.
        """
        program = TemplateProgram.compile(text, variables)
        if program is None or not _has_constant_end(program.environment.parse(text)):
            return None
        growing = cls(program)
        return growing if growing._knows_ends() else None

    def grow(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None) -> Growth | None:
        """One run; None where the template looks at all messages at once.

        Raises:
            TemplateError: And what else a template can raise.
        """
        pieces, watch = self._run(messages, tools, generation_prompt=False)
        if watch.num_loops != 1 or not watch.is_at_end:
            return None
        ends = [0, *itertools.accumulate(map(len, pieces))]
        lengths = tuple([_UNKNOWN if place == _UNKNOWN else ends[place] for place in watch.places])
        return Growth("".join(pieces).removesuffix(self._ends[False]), lengths)

    def end(self, *, generation_prompt: bool) -> str:
        """What stands behind the messages of every conversation."""
        return self._ends[generation_prompt]

    def _knows_ends(self) -> bool:
        """Find out what stands behind the messages; that it is constant is known."""
        for generation_prompt in (False, True):
            try:
                pieces, watch = self._run([_PROBE], None, generation_prompt=generation_prompt)
            except TEMPLATE_FAULTS:
                return False
            if watch.places[1] == _UNKNOWN:
                return False
            self._ends[generation_prompt] = "".join(pieces[watch.places[1] :])
        return True

    def _run(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None, *, generation_prompt: bool
    ) -> tuple[list[str], _Watch]:
        pieces: list[str] = []
        watch = _Watch(pieces, len(messages))
        self._program.run(_Watched(messages, 0, watch), tools, generation_prompt, pieces.append)
        return pieces, watch


class _Watch:
    """Notes how many pieces had been written when the loop asked for each message, and who looked ahead.

    Attributes:
        places: Per number of messages, pieces written when the loop ends behind that many; `_UNKNOWN` where somebody looked
            at a message before its turn.
        num_loops: Over the messages.
        is_at_end: Whether the loop has found that there is no further message.
    """

    def __init__(self, pieces: list[str], num_messages: int) -> None:
        self._pieces = pieces
        self._num_messages = num_messages
        self._furthest_look = -1
        self._given = 0
        self.places = [_UNKNOWN] * (num_messages + 1)
        self.num_loops = 0
        self.is_at_end = False

    def look(self, index: int) -> None:
        """Somebody looks at a message (or whether there is one) outside of the loop's steps."""
        if index > self._furthest_look:
            self._furthest_look = index

    def step(self, index: int) -> None:
        """The loop asks for the message."""
        if index > self._num_messages:
            return
        if index > self._given:
            self._given = index
            if index > self._furthest_look:
                self.places[index] = len(self._pieces)
        if index == self._num_messages:
            self.is_at_end = True


class _Watched:
    """The messages from `first` on, as much of a list as templates use."""

    def __init__(self, messages: Sequence[Mapping[str, Any]], first: int, watch: _Watch) -> None:
        self._messages = messages
        self._first = first
        self._watch = watch

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        self._watch.num_loops += 1
        index = self._first
        while True:
            self._watch.step(index)
            if index >= len(self._messages):
                return
            yield self._messages[index]
            index += 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            if index.stop is None and index.step is None and isinstance(index.start, int) and index.start >= 0:
                return _Watched(self._messages, self._first + index.start, self._watch)
            self._watch.look(_NO_END)
            return list(self._messages[self._first :])[index]
        if not isinstance(index, int):
            raise TypeError("messages are numbered")
        self._watch.look(_NO_END if index < 0 else self._first + index)
        return self._messages[self._first :][index] if index < 0 else self._messages[self._first + index]

    def __len__(self) -> int:
        self._watch.look(_NO_END)
        return max(0, len(self._messages) - self._first)

    def __bool__(self) -> bool:
        if self._first:  # that there is a first message goes without saying
            self._watch.look(self._first)
        return len(self._messages) > self._first


def _noting(look_up: Any) -> Any:
    """Attribute look-up that notes a loop's looks ahead."""

    def noting(value: Any, name: Any) -> Any:
        if value.__class__ is LoopContext:
            messages = value._iterable
            if messages.__class__ is _Watched and name in _LOOKS_AT_NEXT:
                messages._watch.look(messages._first + value.index0 + 1)
            elif messages.__class__ is _Watched and name in _LOOKS_AT_ALL:
                messages._watch.look(_NO_END)
        return look_up(value, name)

    return quick_look_up(noting)


# --- the syntax tree ------------------------------------------------------------------------------------------------------


def _has_constant_end(tree: nodes.Template) -> bool:
    """Whether one loop over the messages stands at the top, and nothing behind it depends on them."""
    if any(True for kind in _OTHER_SOURCES for _ in tree.find_all(kind)):
        return False
    if any(found.name == "attr" for found in tree.find_all(nodes.Filter)):
        return False  # reads attributes of a loop unseen
    tree.body = [node for node in tree.body if not _is_default(node)]
    names = _names_of_messages(tree)
    loops = [i for i, n in enumerate(tree.body) if isinstance(n, nodes.For) and _is_messages(n.iter, names)]
    if len(loops) != 1:
        return False
    (place,) = loops
    loop = tree.body[place]
    assert isinstance(loop, nodes.For)
    if loop.test is not None or loop.else_ or loop.recursive:
        return False
    until_end = _loaded(tree.body[: place + 1])
    behind = _loaded(tree.body[place + 1 :])
    return "add_generation_prompt" not in until_end and behind.isdisjoint(_assigned(tree) | _NEVER_BEHIND_LOOP)


def _is_default(node: nodes.Node) -> bool:
    """``{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}``: it always is."""
    if not isinstance(node, nodes.If) or node.elif_ or node.else_ or not isinstance(node.test, nodes.Not):
        return False
    test = node.test.node
    return isinstance(test, nodes.Test) and test.name == "defined" and _loaded([test]) == {"add_generation_prompt"}


def _names_of_messages(tree: nodes.Template) -> frozenset[str]:
    """Names that stand for the messages or for all of them from one on, wherever they are assigned."""
    names = frozenset({"messages"})
    while True:
        more = names | {
            name for name, values in _assignments(tree).items() if all(_is_messages(value, names) for value in values)
        }
        if more == names:
            reassigned = _assignments(tree).get("messages", [])
            return names if all(_is_messages(value, names) for value in reassigned) else frozenset()
        names = more


def _assignments(tree: nodes.Template) -> dict[str, list[nodes.Node | None]]:
    """Per name what it is set to; None for what is no simple assignment."""
    found: dict[str, list[nodes.Node | None]] = {}
    simple: set[int] = set()
    for assign in tree.find_all(nodes.Assign):
        if isinstance(assign.target, nodes.Name):
            simple.add(id(assign.target))
            found.setdefault(assign.target.name, []).append(assign.node)
    for name in tree.find_all(nodes.Name):
        if name.ctx != "load" and id(name) not in simple:
            found.setdefault(name.name, []).append(None)
    return found


def _is_messages(node: nodes.Node | None, names: frozenset[str]) -> bool:
    if isinstance(node, nodes.Name):
        return node.name in names
    if isinstance(node, nodes.CondExpr):
        return _is_messages(node.expr1, names) and _is_messages(node.expr2, names)
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        start = node.arg.start
        is_rest = node.arg.stop is None and node.arg.step is None
        return is_rest and isinstance(start, nodes.Const) and _is_messages(node.node, names)
    return False


def _loaded(parts: Sequence[nodes.Node]) -> set[str]:
    found: set[str] = set()
    for part in parts:
        if isinstance(part, nodes.Name):
            found.add(part.name)
        found |= {name.name for name in part.find_all(nodes.Name) if name.ctx == "load"}
    return found


def _assigned(tree: nodes.Template) -> set[str]:
    macros = {macro.name for macro in tree.find_all(nodes.Macro)}
    return macros | {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
