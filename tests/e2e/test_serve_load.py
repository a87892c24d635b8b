"""Ten seconds of sixty-four clients, some of whom leave early, while an adapter comes and goes: nobody gets another's answer."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from luthier.serve.adapter_swap import add_adapter
from luthier.serve.limits import Limits
from luthier.serve.served import ServedModel
from tests.serving import NoRuns, Place, chat_body, eventually, model_with_adapters, serving, text_of

SECONDS = 10
CLIENTS = 64


class OneRun(NoRuns):
    """A run "green" with the weights of red."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, itertools.count()
        self.like: ServedModel | None = None

    def open(self, name: str) -> tuple[ServedModel, Callable[[Any], Any]]:
        assert self.like is not None
        adapter = f"green{next(self._numbers)}"
        model = ServedModel(name, "adapter", self.like.contract, self.like.template, adapter)
        return model, partial(add_adapter, folder=self._folder / "red", name=adapter)


def ask(place: Place, name: str, text: str) -> tuple[int, str]:
    answer = place.chat(name, text, temperature=0, max_tokens=20, stream=True)
    if answer.status != 200:
        return answer.status, ""
    events = answer.body.decode().removesuffix("\n\ndata: [DONE]\n\n").split("\n\n")
    return 200, text_of([json.loads(event.removeprefix("data: ")) for event in events])


def leave_early(place: Place, name: str, text: str, rng: random.Random) -> None:
    connection = place.connect()
    body = json.dumps(chat_body(name, text, max_tokens=90, stream=rng.random() < 0.5))
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    time.sleep(rng.random() * 0.2)
    connection.close()


@pytest.mark.slow
def test_many_clients_for_a_while(tmp_path: Path) -> None:
    model_with_adapters().save_pretrained(tmp_path)
    runs, seen, wrong = OneRun(tmp_path), Counter[str](), list[Any]()
    with serving(limits=Limits(prompt_tokens=200, output_tokens=100, waiting=CLIENTS), adapters=runs) as place:
        runs.like = ServedModel("like", "adapter", place.contract, place.template)
        questions = [
            (name, f"Question {n} " + "x" * (n % 7) * 5) for n in range(10) for name in ("base", "red", "blue")
        ]
        expected = {question: ask(place, *question)[1] for question in questions}
        expected |= {("green", text): said for (name, text), said in expected.items() if name == "red"}
        end = time.monotonic() + SECONDS

        def client(number: int) -> None:
            rng = random.Random(number)
            while time.monotonic() < end:
                name, text = rng.choice(list(expected))
                if rng.random() < 0.2:
                    leave_early(place, name, text, rng)
                    continue
                status, said = ask(place, name, text)
                seen[str(status)] += 1
                if not (said == expected[name, text] or (status == 404 and name == "green")):
                    wrong.append((status, name, text, said))

        def swap() -> None:
            while time.monotonic() < end:
                statuses = place.ask("POST", "/v1/adapters", {"run": "green"}).status, 0
                time.sleep(0.3)
                statuses = statuses[0], place.ask("DELETE", "/v1/adapters/green").status
                seen["swapped"] += 1
                if statuses != (201, 200):
                    wrong.append(statuses)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
        threads.append(threading.Thread(target=swap))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert seen["200"] > CLIENTS
        assert seen["swapped"] >= 2
        eventually(lambda: place.engine.num_active == place.engine.num_waiting == 0)
        assert sorted(place.engine.model.peft_config) == ["blue", "red"]
