"""Answers on the disk before they are used: no question is asked (and paid) twice, not after a crash, not by a second run.

An answer is found again by its question: model, messages, limit, temperature and seed. The file may be deleted; what it holds is
then asked anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import IO

from luthier.data.asking import Answer, Question
from luthier.errors import DataError, InputError
from luthier.generate.chat_model import ChatModel

KIND = "luthier journal of answers"
VERSION = 1


class Journal:
    """The file; it is made when the first answer comes.

    Raises:
        DataError: The file is something else.
        InputError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answers: dict[str, Answer] = {}
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        if path.exists():
            self._load()

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, model: str, question: Question) -> Answer | None:
        """The answer that is known."""
        return self._answers.get(digest(model, question))

    def add(self, model: str, question: Question, answer: Answer) -> None:
        """Write an answer; when this returns it is on the disk."""
        key = digest(model, question)
        with self._lock:
            if self._file is None:
                self._file = self._open()
            self._file.write((json.dumps({"question": key, **asdict(answer)}, ensure_ascii=True) + "\n").encode())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._answers[key] = answer

    def close(self) -> None:
        """No more answers."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _load(self) -> None:
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise InputError(f"The journal {self.path} cannot be read: {error.strerror}.") from error
        # A last line without an end was being written when the machine stopped.
        lines = content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]
        try:
            head, *entries = [json.loads(line) for line in lines] or [{"kind": KIND, "version": VERSION}]
            if head.get("kind") != KIND or head.get("version") != VERSION:
                raise ValueError("another kind of file")
            for entry in entries:
                key = entry.pop("question")
                self._answers[key] = Answer(**entry)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"{self.path} is no journal of answers, or was changed ({error}). Remove it, or name another OUT: the journal "
                "lies beside it."
            ) from error

    def _open(self) -> IO[bytes]:
        file = self.path.open("r+b" if self.path.exists() else "w+b")
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        if not file.tell():
            file.write(json.dumps({"kind": KIND, "version": VERSION}).encode() + b"\n")
        return file


class Journalled:
    """A `ChatModel` that looks into the journal first, and writes what it learns."""

    def __init__(self, model: ChatModel, journal: Journal) -> None:
        self._model, self._journal = model, journal
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self.asked: list[Answer] = []
        """Answers that were not in the journal."""

    @property
    def name(self) -> str:
        """Of the model."""
        return self._model.name

    @property
    def parallel(self) -> int:
        """Of the model."""
        return self._model.parallel

    def stop(self) -> None:
        """Answer no more."""
        self._model.stop()

    def ask(self, question: Question) -> Answer:
        """The known answer, or the model's.

        Raises:
            EndpointError: As `ChatModel.ask`.
        """
        with self._locks[digest(self.name, question)]:  # two that ask the same at once: the second finds the answer
            known = self._journal.find(self.name, question)
            if known is not None:
                return known
            answer = self._model.ask(question)
            self._journal.add(self.name, question, answer)
            self.asked.append(answer)
            return answer


def digest(model: str, question: Question) -> str:
    """Equal for equal questions to the same model."""
    messages = [[message.role, message.content] for message in question.messages]
    whole = [model, messages, question.max_tokens, question.temperature, question.seed]
    return hashlib.blake2b(json.dumps(whole).encode(), digest_size=16).hexdigest()
