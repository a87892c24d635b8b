"""The server under many clients against transformers' `generate`, one question after the other, in one run.

    python benchmarks/serve.py [--clients 16] [--questions 4] [--json] [--save]

Each client asks its questions one after the other over HTTP and reads the stream to its end; all clients ask at once. The same
prompts go through `model.generate` one at a time, as a simple script would serve them. Greedy, bf16, at most 64 tokens an
answer. That served answers are those of single runs is tested in fp32 (tests/unit/serve/test_server.py); here tokens per second
are counted over what each side really wrote.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from machine import identity

from luthier.models.load import find_model, load_causal_lm, load_tokenizer
from luthier.workflows.serve import ServeWish, serve

MODEL = "smollm2-135m-instruct"
NUM_TOKENS = 64
TOPICS = (
    "a river",
    "a ledger",
    "winter",
    "bridges",
    "copper",
    "the harbour",
    "a season",
    "music",
    "paper",
    "gardens",
    "engines",
)
STYLES = ("Explain in two sentences:", "Write a short list about", "Tell a child about", "What is interesting in")


class Asked(NamedTuple):
    """One answer as a client saw it."""

    num_tokens: int
    first_seconds: float
    seconds: float


def prompt(number: int) -> str:
    """A different question for every number."""
    return f"{STYLES[number % len(STYLES)]} {TOPICS[number % len(TOPICS)]} ({number})."


def ask(port: int, text: str) -> Asked:
    """Ask and read the stream."""
    body = {
        "model": "base",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": NUM_TOKENS,
        "temperature": 0,
    }
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    began = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    first, num_tokens = 0.0, 0
    for line in connection.getresponse():
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            raise RuntimeError(chunk["error"]["message"])
        if not first and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
            first = time.perf_counter() - began
        num_tokens = chunk.get("usage", {}).get("completion_tokens", num_tokens)
    connection.close()
    return Asked(num_tokens, first, time.perf_counter() - began)


def served(num_clients: int, num_questions: int) -> tuple[float, list[Asked]]:
    """Seconds for all, and every answer."""
    servers: list[Any] = []
    thread = threading.Thread(target=lambda: serve(ServeWish(base=MODEL, port=0), on_server=servers.append))
    thread.start()
    while not (servers and servers[0].started):
        time.sleep(0.1)
    port = servers[0].port
    try:
        ask(port, "Hello")

        def client(number: int) -> list[Asked]:
            return [ask(port, prompt(number * num_questions + turn)) for turn in range(num_questions)]

        began = time.perf_counter()
        with ThreadPoolExecutor(num_clients) as pool:
            answers = [answer for found in pool.map(client, range(num_clients)) for answer in found]
        return time.perf_counter() - began, answers
    finally:
        servers[0].should_exit = True
        thread.join()


def one_by_one(count: int) -> tuple[float, list[int]]:
    """Seconds and tokens of `generate`, prompt after prompt."""
    source = find_model(MODEL)
    tokenizer: Any = load_tokenizer(source)
    model: Any = load_causal_lm(source, torch.bfloat16, torch.device("cpu")).eval()
    num_tokens = []
    began = time.perf_counter()
    for number in range(count):
        messages = [{"role": "user", "content": prompt(number)}]
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            out = model.generate(
                **inputs, do_sample=False, max_new_tokens=NUM_TOKENS, pad_token_id=tokenizer.pad_token_id
            )
        num_tokens.append(out.shape[1] - inputs["input_ids"].shape[1])
    return time.perf_counter() - began, num_tokens


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--questions", type=int, default=4, help="of each client")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--save", action="store_true", help="append the result to benchmarks/results/serve.jsonl")
    options = parser.parse_args()
    seconds, answers = served(options.clients, options.questions)
    single_seconds, single = one_by_one(len(answers))
    ours, theirs = sum(a.num_tokens for a in answers) / seconds, sum(single) / single_seconds
    result = {
        "benchmark": "serve",
        "clients": options.clients,
        "questions_each": options.questions,
        "answer_tokens": sum(a.num_tokens for a in answers),
        "answer_tokens_one_by_one": sum(single),
        "tokens_per_second": ours,
        "tokens_per_second_one_by_one": theirs,
        "ratio": ours / theirs,
        "median_first_token_seconds": statistics.median(a.first_seconds for a in answers),
        "median_answer_seconds": statistics.median(a.seconds for a in answers),
        "machine": identity(),
    }
    print(
        f"{options.clients} clients: {ours:.0f} tokens/s; `generate` one by one: {theirs:.0f}; ratio {result['ratio']:.2f}",
        file=sys.stderr,
    )
    if options.save:
        with (Path(__file__).parent / "results" / "serve.jsonl").open("a") as file:
            file.write(json.dumps(result) + "\n")
    if options.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
