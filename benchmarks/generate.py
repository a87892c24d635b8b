"""Generation on a CPU: Luthier's engine against transformers' `generate` on the same prompts, in one run.

    python benchmarks/generate.py [--quick] [--json] [--save]

Two hundred prompts of very different lengths, two thirds of them behind one of two system prompts; answers of 1 to 64
tokens. `generate` runs as people call it (in order of arrival, padded on the left, 16 rows at once) and at its best: sorted
by length, with the best batch size of a search. The gate comes first: in fp32, greedy answers must be those of `generate` one
row at a time, unless the two most probable tokens are within 1e-4 of each other where they part.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from machine import identity

from luthier.generate.batched import BatchedEngine
from luthier.generate.protocol import Request
from luthier.models.load import find_model, load_causal_lm, load_tokenizer

MODEL = "smollm2-135m-instruct"
WORDS = [
    *("river", "ledger", "garden", "engine", "winter", "table", "copper", "question"),
    *("harbour", "letter", "season", "music", "paper", "signal", "bridge"),
]
SYSTEMS = (
    "You are a careful clerk. Answer in one short sentence.",
    "You translate requests into steps. " + "Name every step, its owner and its due date. " * 12,
    None,
)
BATCH_SIZES = (8, 16, 32, 64)
NEAR_TIE = 1e-4


def requests(tokenizer: Any, count: int) -> list[Request]:
    """Prompts as chats are, with a limit on the answer of their own."""
    rng = random.Random(0)
    found = []
    for _ in range(count):
        system, words = rng.choice(SYSTEMS), min(220, 4 + int(rng.lognormvariate(3.0, 0.9)))
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": "Write about: " + " ".join(rng.choices(WORDS, k=words))})
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        found.append(Request(tuple(ids), rng.choice([1, 8, 16, 32, 64]), frozenset({tokenizer.eos_token_id})))
    return found


def by_transformers(model: Any, asked: list[Request], pad: int, batch_size: int) -> list[tuple[int, ...]]:
    """`model.generate` in batches, each until its longest answer ends; answers cut at their own limit."""
    answers = []
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        longest = max(len(r.prompt_ids) for r in batch)
        ids = torch.tensor([[pad] * (longest - len(r.prompt_ids)) + list(r.prompt_ids) for r in batch])
        mask = torch.tensor([[0] * (longest - len(r.prompt_ids)) + [1] * len(r.prompt_ids) for r in batch])
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=max(r.max_new_tokens for r in batch),
                pad_token_id=pad,
                eos_token_id=list(batch[0].stop_ids),
            )
        answers += [
            cut(tuple(row[longest:].tolist()), r.stop_ids, r.max_new_tokens) for row, r in zip(out, batch, strict=True)
        ]
    return answers


def cut(ids: tuple[int, ...], stops: frozenset[int], limit: int) -> tuple[int, ...]:
    """An answer up to its first stop token and its limit."""
    end = next((i + 1 for i, token in enumerate(ids) if token in stops), len(ids))
    return ids[: min(end, limit)]


def gate(tokenizer: Any, count: int) -> dict[str, Any]:
    """Greedy answers in fp32 against `generate` one row at a time."""
    model = load_causal_lm(find_model(MODEL), torch.float32, torch.device("cpu")).eval()
    asked = [Request(r.prompt_ids, min(r.max_new_tokens, 12), r.stop_ids) for r in requests(tokenizer, count)]
    ours = [a.token_ids for a in BatchedEngine(model).generate(asked)]
    theirs = by_transformers(model, asked, tokenizer.pad_token_id, 1)
    parted = near = 0
    for request, a, b in zip(asked, ours, theirs, strict=True):
        if a == b:
            continue
        parted += 1
        place = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
        with torch.inference_mode():
            logits = model(torch.tensor([request.prompt_ids + b[:place]])).logits[0, -1]
        best, second = logits.topk(2).values.tolist()
        near += best - second < NEAR_TIE
    return {"prompts": count, "parted": parted, "of_these_near_ties": near, "passed": parted == near}


def seconds(run: Any, times: int) -> float:
    """Median time of a few runs."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="60 prompts, one run of each, two batch sizes")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--save", action="store_true", help="append the result to benchmarks/results/generate.jsonl")
    options = parser.parse_args()
    count, times = (60, 1) if options.quick else (200, 3)

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    tokenizer = load_tokenizer(find_model(MODEL))
    gates = gate(tokenizer, 12 if options.quick else 40)
    say(f"gate {'passed' if gates['passed'] else 'FAILED'}: {gates}")
    model = load_causal_lm(find_model(MODEL), torch.bfloat16, torch.device("cpu")).eval()
    asked = requests(tokenizer, count)
    by_length = sorted(asked, key=lambda r: -len(r.prompt_ids))
    pad = tokenizer.pad_token_id
    rows = {"luthier": seconds(lambda: BatchedEngine(model).generate(asked), times)}
    say(f"luthier {rows['luthier']:.1f} s")
    rows["luthier, prefixes not shared"] = seconds(
        lambda: BatchedEngine(model, share_prefix=False).generate(asked), times
    )
    rows["generate, as called"] = seconds(lambda: by_transformers(model, asked, pad, 16), times)
    say(f"generate as called {rows['generate, as called']:.1f} s")
    for size in BATCH_SIZES[1:3] if options.quick else BATCH_SIZES:
        name = f"generate, sorted, {size} rows"
        rows[name] = seconds(lambda size=size: by_transformers(model, by_length, pad, size), times)
        say(f"{name} {rows[name]:.1f} s")
    best = min((n for n in rows if "sorted" in n), key=rows.__getitem__)
    num_tokens = sum(len(a.token_ids) for a in BatchedEngine(model).generate(asked))
    result = {
        "benchmark": "generate",
        "quick": options.quick,
        "gate": gates,
        "seconds": rows,
        "answer_tokens": num_tokens,
        "prompt_tokens": sum(len(r.prompt_ids) for r in asked),
        "ratio_to_generate_as_called": rows["generate, as called"] / rows["luthier"],
        "best_peer": best,
        "ratio_to_best_peer": rows[best] / rows["luthier"],
        "machine": identity(),
    }
    say(
        f"ratio to generate as called {result['ratio_to_generate_as_called']:.2f}, to {best} {result['ratio_to_best_peer']:.2f}"
    )
    if options.save:
        with (Path(__file__).parent / "results" / "generate.jsonl").open("a") as file:
            file.write(json.dumps(result) + "\n")
    if options.json:
        print(json.dumps(result))
    return 0 if gates["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
