"""A server on a real socket around a tiny model: many clients at once, hostile ones, slow ones, ones that leave."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from tests.serving import Place, chat_body, eventually, model_with_adapters, serving, text_of
from tests.tiny import tiny_tokenizer

from luthier.data.asking import Question
from luthier.errors import EndpointError
from luthier.generate.endpoint import Endpoint
from luthier.serve.limits import Limits
from luthier.types import Message

MODELS = ("base", "red", "blue")
TOOL = {"type": "function", "function": {"name": "look"}}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with serving() as found:
        yield found


def alone(name: str, ids: list[int], num_tokens: int, stop_ids: list[int]) -> list[int]:
    """By transformers' `generate` and PEFT's own switching, one prompt at a time."""
    model = model_with_adapters()
    options: dict[str, Any] = {
        "max_new_tokens": num_tokens,
        "do_sample": False,
        "eos_token_id": stop_ids,
        "pad_token_id": 0,
    }
    inputs = torch.tensor([ids])
    options["attention_mask"] = torch.ones_like(inputs)
    if name == "base":
        with model.disable_adapter():
            return model.generate(input_ids=inputs, **options)[0, len(ids) :].tolist()
    model.set_adapter(name)
    return model.generate(input_ids=inputs, **options)[0, len(ids) :].tolist()


def prompt_ids(text: str) -> list[int]:
    """By the tokenizer's own template, not ours."""
    tokenizer = tiny_tokenizer()
    shown = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)
    return shown["input_ids"]


def test_sixteen_streaming_clients_with_mixed_adapters_get_what_each_would_get_alone(place: Place) -> None:
    questions = [(MODELS[n % 3], f"What is the colour of thing {n}?" * (1 + n % 3), 10 + n) for n in range(32)]
    stop_ids = sorted(place.contract.stop_ids)

    def ask(question: tuple[str, str, int]) -> list[Any]:
        name, text, num_tokens = question
        body = chat_body(name, text, max_tokens=num_tokens, temperature=0, stream_options={"include_usage": True})
        return place.stream(body)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, questions))
    for (name, text, num_tokens), chunks in zip(questions, answers, strict=True):
        ids = alone(name, prompt_ids(text), num_tokens, stop_ids)
        said = [token for token in ids if token not in stop_ids]
        assert text_of(chunks) == tiny_tokenizer().decode(said)
        *_, last, usage = chunks
        assert last["choices"][0]["finish_reason"] == ("stop" if ids[-1] in stop_ids else "length")
        assert usage["usage"]["prompt_tokens"] == len(prompt_ids(text))
        assert usage["usage"]["completion_tokens"] == len(ids)
        assert {chunk["model"] for chunk in chunks} == {name}
        assert len({chunk["id"] for chunk in chunks}) == 1
    eventually(lambda: place.engine.num_active == place.engine.num_waiting == 0)


def test_drawn_answers_repeat_by_their_seed_whatever_else_runs(place: Place) -> None:
    def ask(seed: int) -> list[str]:
        answer = place.chat("red", "Draw.", temperature=1.0, seed=seed, n=2, max_tokens=20)
        assert answer.status == 200
        return [choice["message"]["content"] for choice in answer.json["choices"]]

    first = ask(5)
    with ThreadPoolExecutor(8) as pool:
        others = list(pool.map(ask, [5, 6, 7, 5, 8, 9, 10, 5]))
    assert others[0] == others[3] == others[7] == first
    assert first[0] != first[1]
    assert ask(6) != first


def test_whole_answers_are_streams_in_one_piece(place: Place) -> None:
    fields = {"temperature": 0, "max_tokens": 15, "logprobs": True, "top_logprobs": 3}
    whole = place.chat("blue", "Hello", **fields).json
    chunks = place.stream(chat_body("blue", "Hello", **fields))
    (choice,) = whole["choices"]
    assert choice["message"] == {"role": "assistant", "content": text_of(chunks)}
    streamed = [e for c in chunks for e in (c["choices"][0].get("logprobs") or {"content": []})["content"]]
    assert choice["logprobs"]["content"] == streamed
    for entry in streamed:  # greedy: the chosen one is the likeliest
        assert entry["top_logprobs"][0]["logprob"] == entry["logprob"]
        assert len(entry["top_logprobs"]) == 3
        values = [other["logprob"] for other in entry["top_logprobs"]]
        assert values == sorted(values, reverse=True)


def test_logprobs_are_the_models_own(place: Place) -> None:
    prompt = [5, 6, 7, 8]
    body = {"model": "red", "prompt": prompt, "max_tokens": 6, "temperature": 0, "logprobs": 2}
    answer = place.ask("POST", "/v1/completions", body).json
    found = answer["choices"][0]["logprobs"]["token_logprobs"]
    ids = alone("red", prompt, 6, sorted(place.contract.stop_ids))
    model = model_with_adapters()
    model.set_adapter("red")
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
    expected = [float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(ids)]
    assert found == pytest.approx(expected[: len(found)], abs=1e-4)
    assert answer["usage"]["prompt_tokens"] == 4


def test_an_answer_ends_before_a_stop_text(place: Place) -> None:
    whole = place.chat("base", "Stop here", temperature=0, max_tokens=30).json["choices"][0]["message"]["content"]
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    expected = whole[: whole.find(stop)]
    answer = place.chat("base", "Stop here", temperature=0, max_tokens=30, stop=[stop, "never comes"]).json["choices"][
        0
    ]
    assert (answer["message"]["content"], answer["finish_reason"]) == (expected, "stop")
    assert text_of(place.stream(chat_body("base", "Stop here", temperature=0, max_tokens=30, stop=stop))) == expected


def test_our_own_client_is_answered(place: Place) -> None:
    question = Question((Message("user", "Hello"),), 8, 0.0, 1)
    endpoint = Endpoint(f"http://127.0.0.1:{place.port}/v1", "red")
    expected = place.chat("red", "Hello", temperature=0, max_tokens=8).json
    answer = endpoint.ask(question)
    assert answer.text == expected["choices"][0]["message"]["content"]
    assert answer.prompt_tokens == len(prompt_ids("Hello"))
    with pytest.raises(EndpointError, match="no such model"):
        Endpoint(f"http://127.0.0.1:{place.port}/v1", "green").ask(question)


def test_lists_health_and_metrics(place: Place) -> None:
    assert [model["id"] for model in place.ask("GET", "/v1/models").json["data"]] == list(MODELS)
    assert place.ask("GET", "/v1/models/red").json["kind"] == "adapter"
    assert place.ask("GET", "/v1/models/green").status == 404
    assert place.ask("GET", "/health").json == {"status": "ok"}
    text = place.ask("GET", "/metrics").body.decode()
    assert re.search(r"^luthier_slots 16$", text, re.MULTILINE)
    assert place.ask("GET", "/").headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", {}, 400),
        ("POST", "/v1/chat/completions", b'{"model": "\xff"}', {}, 400),
        ("POST", "/v1/chat/completions", b"x" * 1_100_000, {}, 413),
        ("POST", "/v1/chat/completions", b"x" * 12_000_000, {}, 413),
        ("POST", "/v1/chat/completions", chat_body("red", "hi"), {"Content_Type": "text/plain"}, 415),
        ("POST", "/v1/chat/completions", chat_body("red", "word " * 400), {}, 400),
        ("POST", "/v1/chat/completions", chat_body("green", "hi"), {}, 404),
        ("POST", "/v1/chat/completions", chat_body("red", "hi", tools=[TOOL]), {}, 400),
        ("POST", "/v1/chat/completions", chat_body("red", "hi", response_format={"type": "json_object"}), {}, 422),
        ("POST", "/v1/completions", {"model": "red", "prompt": [10**6]}, {}, 400),
        ("POST", "/v1/completions", {"model": "red", "prompt": ""}, {}, 400),
        ("POST", "/v1/adapters", {"run": "../../etc/passwd"}, {}, 404),
        ("DELETE", "/v1/adapters/base", None, {}, 400),
        ("DELETE", "/v1/adapters/%2e%2e%2fred", None, {}, 404),
        ("GET", "/v1/chat/completions", None, {}, 405),
        ("GET", "/../../etc/passwd", None, {}, 404),
        ("GET", "/v1/models", None, {"Host": "evil.example"}, 421),
        ("GET", "/v1/models", None, {"Origin": "http://evil.example"}, 403),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_their_shape_and_the_server_lives(
    place: Place, method: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    answer = place.ask(method, path, body, **headers)
    assert answer.status == status
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert place.ask("GET", "/health").status == 200


def test_keys() -> None:
    key = "a-key-of-good-length"
    with serving(key=key) as place:
        assert place.ask("GET", "/v1/models").status == 200
        for wrong in ("Bearer wrong-key-of-good-length", f"Basic {key}", ""):
            refused = place.ask("GET", "/v1/models", Authorization=wrong)
            assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
            assert place.ask("POST", "/v1/chat/completions", b"not even JSON", Authorization=wrong).status == 401
        assert place.ask("GET", "/metrics", Authorization="").status == 401
        assert place.ask("GET", "/health", Authorization="").status == 200
        assert key not in place.ask("GET", "/", Authorization="").body.decode()


def test_clients_that_leave_free_their_slots() -> None:
    with serving(limits=Limits(prompt_tokens=100, output_tokens=400, slots=2, waiting=8), step_seconds=0.02) as place:
        leaving: list[http.client.HTTPConnection] = []
        for stream in (True, False, True, False):
            connection = place.connect()
            body = json.dumps(chat_body("red", "Go on", max_tokens=400, stream=stream))
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            leaving.append(connection)
        eventually(lambda: place.engine.num_active == 2 and place.engine.num_waiting == 2)
        for connection in leaving:
            assert connection.sock is not None
            connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()
        eventually(lambda: place.engine.num_active == place.engine.num_waiting == 0, seconds=3)
        assert place.chat("blue", "hi", max_tokens=2).status == 200


def test_a_full_queue_says_when_to_come_back() -> None:
    limits = Limits(prompt_tokens=100, output_tokens=400, slots=1, waiting=1)
    with serving(limits=limits, step_seconds=0.02) as place, ThreadPoolExecutor(2) as pool:
        running = [pool.submit(place.chat, "red", "Go on", max_tokens=30) for _ in range(2)]
        eventually(lambda: place.engine.num_active == 1 and place.engine.num_waiting == 1)
        refused = place.chat("red", "And I?")
        assert (refused.status, refused.error["code"]) == (429, "queue_full")
        assert int(refused.headers["Retry-After"]) >= 1
        assert [answer.result().status for answer in running] == [200, 200]


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    limits = Limits(prompt_tokens=100, output_tokens=400, answer_seconds=0.4)
    with serving(limits=limits, step_seconds=0.02) as place:
        assert place.chat("red", "Go on", max_tokens=400).status == 504
        *_, last = place.stream(chat_body("red", "Go on", max_tokens=400))
        assert last["error"]["code"] == "timeout"
        eventually(lambda: place.engine.num_active == 0)


def test_slow_senders_are_cut_off() -> None:
    with serving(limits=Limits(prompt_tokens=100, output_tokens=50, head_seconds=0.4, body_seconds=0.4)) as place:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % place.port
        for sent, expected in (
            (b"", b""),
            (head, b""),
            (head + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 408"),
        ):
            with socket.create_connection(("127.0.0.1", place.port), timeout=5) as connection:
                connection.sendall(sent)
                assert connection.recv(12) == expected
        assert place.chat("red", "hi", max_tokens=2).status == 200


def test_an_unloaded_adapter_is_gone_and_the_others_answer() -> None:
    with serving() as place:
        before = place.chat("blue", "Hello", temperature=0).json["choices"]
        assert place.ask("DELETE", "/v1/adapters/red").json["deleted"] is True
        assert place.chat("red", "Hello").status == 404
        assert place.chat("blue", "Hello", temperature=0).json["choices"] == before
