"""One task of `data.py` in a process of its own: reads the job (JSON on standard input), prints the result as JSON.

    check      `luthier data check` of a file, all rules that need nothing else
    luthier    messages → token ids and mask, as training prepares them
    trl        the same rows through SFTTrainer's own preparation, as it runs before a training

A process of its own has its own peak of memory and nothing warm from another task.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MODEL = "smollm2-135m-instruct"


def resident_peak_bytes() -> int:
    """Of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("VmHWM is only known on Linux")


def cpu_seconds() -> float:
    """Of this process and of those it started and waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def template_text(which: str) -> str:
    """Qwen 2.5's ChatML template; TRL ships a twin of it with generation markers."""
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / f"{which}.jinja").read_text()


def run_check(job: dict[str, Any]) -> dict[str, Any]:
    """What the command does, and the command's own way to say how far it is."""
    from rich.console import Console

    from luthier.cli.render import terminal_reporter
    from luthier.workflows.data_check import data_check

    with terminal_reporter(Console(stderr=True)) as reporter:
        found = data_check([job["file"]], reporter=reporter)
    return {
        "num_rows": found.num_rows,
        "findings": [[f.rule, f.num_rows, f.message] for f in found.findings],
        "rules": list(found.rules),
        "not_run": [rule.rule for rule in found.not_run],
    }


def run_luthier(job: dict[str, Any]) -> dict[str, Any]:
    """Rows as read from a file → a `TokenizedSet`."""
    from luthier.data.formats import convert, recognise
    from luthier.data.row import Row
    from luthier.data.template import ChatTemplate
    from luthier.data.tokenize import tokenize
    from luthier.models.load import find_model, load_tokenizer
    from luthier.reporter import Silent
    from luthier.types import Source

    tokenizer = load_tokenizer(find_model(MODEL))
    rows = [Row(row, Source("rows", number)) for number, row in enumerate(_rows(job), start=1)]
    began, cpu = time.perf_counter(), cpu_seconds()
    template = ChatTemplate.from_tokenizer(tokenizer, template=template_text("qwen2_5"))
    items = convert(rows, recognise(rows)).items
    tokenized = tokenize(
        list(enumerate(items)), template, max_length=job["max_length"], overlong="truncate", reporter=Silent()
    )
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    _save(job, [(e.segments[0].ids.tolist(), (e.segments[0].weights > 0).tolist()) for e in tokenized.tokens])
    return {"seconds": seconds, "cpu_seconds": cpu}


def run_trl(job: dict[str, Any]) -> dict[str, Any]:
    """`SFTTrainer._prepare_dataset`, timed where the trainer's constructor calls it."""
    import datasets
    import torch
    import trl
    from transformers import LlamaConfig, LlamaForCausalLM

    from luthier.models.load import find_model, load_tokenizer

    datasets.disable_caching()
    datasets.disable_progress_bars()
    tokenizer = load_tokenizer(find_model(MODEL))
    tokenizer.chat_template = template_text("qwen2_5")
    data = datasets.Dataset.from_list(_rows(job))
    prepare = trl.SFTTrainer._prepare_dataset
    taken: dict[str, float] = {}

    def timed(*arguments: Any, **more: Any) -> Any:
        began, cpu = time.perf_counter(), cpu_seconds()
        prepared = prepare(*arguments, **more)
        taken["seconds"], taken["cpu_seconds"] = time.perf_counter() - began, cpu_seconds() - cpu
        return prepared

    trl.SFTTrainer._prepare_dataset = timed
    torch.manual_seed(0)
    small = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
        )
    )
    with tempfile.TemporaryDirectory() as place:
        arguments = trl.SFTConfig(
            output_dir=place,
            assistant_only_loss=True,
            max_length=job["max_length"],
            dataset_num_proc=job["num_proc"],
            shuffle_dataset=False,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
        )
        trainer = trl.SFTTrainer(model=small, args=arguments, train_dataset=data, processing_class=tokenizer)
        prepared = trainer.train_dataset
        _save(job, [(row["input_ids"], [label != -100 for label in row["labels"]]) for row in prepared])
    return taken


def _rows(job: dict[str, Any]) -> list[dict[str, Any]]:
    with Path(job["file"]).open() as file:
        return [json.loads(line) for line in file]


def _save(job: dict[str, Any], tokens: list[tuple[list[int], list[bool]]]) -> None:
    Path(job["tokens"]).write_text(json.dumps(tokens))


def main() -> None:
    """One job."""
    job = json.load(sys.stdin)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", job.get("tokenizers_parallelism", "true"))
    began = time.perf_counter()
    result = {"check": run_check, "luthier": run_luthier, "trl": run_trl}[job["task"]](job)
    result.setdefault("seconds", time.perf_counter() - began)
    result.setdefault("cpu_seconds", cpu_seconds())
    result["peak_bytes"] = resident_peak_bytes()
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main()
