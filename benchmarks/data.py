"""The data workshop at scale: `luthier data check` on a million rows, and tokenising with masks against TRL's preparation.

    python benchmarks/data.py [--rows 1000000] [--only check|tokenize] [--json] [--save]

The rows are generated, with faults planted at known rates (`planted_rows.py`). Of the check: wall and processor time and the
resident peak of a fresh process, and whether each rule found what was planted: no row more, no row less. Of tokenising:
20,000 rows without faults through Luthier and through `SFTTrainer`'s own preparation (assistant-only masks) with one and with
as many processes as there are cores; first the token ids and masks are compared, then times, each in fresh processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from machine import identity
from planted_rows import Planted

HERE = Path(__file__).parent
MOST_SECONDS, MOST_BYTES, LEAST_RATIO = 480.0, 2 * 1024**3, 5.0
TOKENIZED_ROWS = 20_000
MAX_LENGTH = 1024
ROUNDS = 3
_NOT_COUNTED = ("language_mix", "system_prompts")
"""Found in a sample, or with two counts for one fault; they have to be found, with whatever number."""


def run(job: dict[str, Any], *, quiet: bool = True) -> dict[str, Any]:
    """One task in a fresh process."""
    done = subprocess.run(
        [sys.executable, str(HERE / "data_contestant.py")],
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise SystemExit(f"{job['task']} failed:\n{(done.stderr or '')[-3000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


def check(num_rows: int, place: Path, say: Any) -> dict[str, Any]:
    """Generate, check, compare with what was planted."""
    say(f"generate {num_rows:,} rows …")
    planted = Planted()
    began = time.perf_counter()
    path = place / "rows.jsonl"
    with path.open("w") as file:
        for row in planted.rows(num_rows):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    say(f"  {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1024**2:,.0f} MiB")
    result = run({"task": "check", "file": str(path)}, quiet=False)
    found: dict[str, int] = defaultdict(int)
    for rule, count, _ in result["findings"]:
        found[rule] += count
    expected = planted.expected()
    wrong = {
        rule: {"planted": expected.get(rule, 0), "found": found.get(rule, 0)}
        for rule in sorted({*expected, *found} - {*_NOT_COUNTED})
        if expected.get(rule, 0) != found.get(rule, 0)
    }
    missing = [rule for rule in _NOT_COUNTED if not found.get(rule)]
    return {
        "num_rows": num_rows,
        "mean_characters": planted.num_characters / num_rows,
        "seconds": result["seconds"],
        "cpu_seconds": result["cpu_seconds"],
        "peak_bytes": result["peak_bytes"],
        "rules": len(result["rules"]),
        "not_run": result["not_run"],
        "planted": expected,
        "wrong_counts": wrong,
        "not_found": missing,
        "passed": not wrong and not missing,
    }


def tokenize(place: Path, say: Any) -> dict[str, Any]:
    """Both sides on the same rows; the fastest of some rounds of each."""
    path = place / "clean.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in Planted(seed=1).clean_rows(TOKENIZED_ROWS)))
    shared = {"file": str(path), "max_length": MAX_LENGTH}
    cores = len(os.sched_getaffinity(0))
    contestants: dict[str, dict[str, Any]] = {
        "luthier": {"task": "luthier"},
        "trl, 1 process": {"task": "trl", "num_proc": None},
        f"trl, {cores} processes": {"task": "trl", "num_proc": cores, "tokenizers_parallelism": "false"},
    }
    rows: dict[str, Any] = {}
    for _ in range(ROUNDS):  # in turns, so that a machine that drifts drifts for all
        for name, job in contestants.items():
            say(f"{name} …")
            tokens = str(place / f"{job['task']}.json")
            result = run({**shared, **job, "tokens": tokens})
            if name not in rows or result["seconds"] < rows[name]["seconds"]:
                rows[name] = result
    gates = compare(*(json.loads((place / f"{side}.json").read_text()) for side in ("luthier", "trl")))
    best = min((name for name in rows if name.startswith("trl")), key=lambda name: rows[name]["seconds"])
    return {
        "num_rows": TOKENIZED_ROWS,
        "gate": gates,
        "rows": rows,
        "best_peer": best,
        "ratio_to_best_peer": rows[best]["seconds"] / rows["luthier"]["seconds"],
        "cpu_ratio_to_best_peer": rows[best]["cpu_seconds"] / rows["luthier"]["cpu_seconds"],
    }


def compare(ours: list[Any], theirs: list[Any]) -> dict[str, Any]:
    """Rows with equal ids, and with equal masks but for the newlines around an answer.

    TRL's template learns two that are not generated: the last token of the prompt, and the one behind the end of turn.
    """
    newline = _newline_id()
    same_ids = same_masks = 0
    for (ids, mask), (their_ids, their_mask) in zip(ours, theirs, strict=True):
        same_ids += ids == their_ids
        differ = [t for t, (a, b) in enumerate(zip(mask, their_mask, strict=False)) if a != b]
        same_masks += len(mask) == len(their_mask) and all(
            ids[t] == newline and their_mask[t] and (mask[t - 1] or mask[t + 1 : t + 2] == [True]) for t in differ
        )
    return {
        "rows": len(ours),
        "same_ids": same_ids,
        "same_masks": same_masks,
        "passed": same_ids == same_masks == len(ours),
    }


def _newline_id() -> int:
    from data_contestant import MODEL

    from luthier.models.load import find_model, load_tokenizer

    (newline,) = load_tokenizer(find_model(MODEL))("\n", add_special_tokens=False)["input_ids"]
    return newline


def main() -> int:
    """Measure, show, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to check")
    parser.add_argument("--only", choices=("check", "tokenize"), help="one of the two")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--save", action="store_true", help="append the result to benchmarks/results/data.jsonl")
    options = parser.parse_args()

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    result: dict[str, Any] = {"benchmark": "data", "machine": identity()}
    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as temporary:
        place = Path(temporary)
        if options.only != "tokenize":
            result["check"] = check(options.rows, place, say)
        if options.only != "check":
            result["tokenize"] = tokenize(place, say)
    show(result, say)
    if options.save:
        with (HERE / "results" / "data.jsonl").open("a") as file:
            file.write(json.dumps(result) + "\n")
    if options.json:
        print(json.dumps(result))
    gates = [result["check"]["passed"]] if "check" in result else []
    gates += [result["tokenize"]["gate"]["passed"]] if "tokenize" in result else []
    return 0 if all(gates) else 1


def show(result: dict[str, Any], say: Any) -> None:
    """For people."""
    if checked := result.get("check"):
        found = "all planted faults found, none besides" if checked["passed"] else f"WRONG: {checked['wrong_counts']}"
        say(
            f"\ncheck: {checked['num_rows']:,} rows of {checked['mean_characters']:.0f} characters, {checked['rules']} rules: "
            f"{checked['seconds']:.0f} s (processor {checked['cpu_seconds']:.0f} s), "
            f"{checked['peak_bytes'] / 1024**3:.2f} GiB; {found} {checked['not_found'] or ''}"
        )
        if checked["num_rows"] >= 1_000_000:
            fits = checked["seconds"] <= MOST_SECONDS and checked["peak_bytes"] <= MOST_BYTES
            say(f"  target {MOST_SECONDS:.0f} s, {MOST_BYTES / 1024**3:.0f} GiB: {'met' if fits else 'MISSED'}")
    if tokenized := result.get("tokenize"):
        gates = tokenized["gate"]
        say(f"\ntokenize: {gates['same_ids']} of {gates['rows']} rows have TRL's ids, {gates['same_masks']} its mask")
        for name, row in tokenized["rows"].items():
            say(f"  {name:<20} {row['seconds']:6.1f} s   processor {row['cpu_seconds']:6.1f} s")
        ratio = tokenized["ratio_to_best_peer"]
        say(
            f"  {ratio:.1f} times as fast as TRL's best; target {LEAST_RATIO:.0f}: {'met' if ratio >= LEAST_RATIO else 'MISSED'}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
