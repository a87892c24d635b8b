"""The engine that serves: answers are those of single runs, rows come and go, changes of the model wait for their moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tests.serving import eventually, model_with_adapters
from tests.tiny import tiny_model

from luthier.errors import InputError, ModelError
from luthier.generate.protocol import Request
from luthier.generate.running import Row
from luthier.serve.adapter_swap import add_adapter, remove_adapter
from luthier.serve.engine import EngineStoppedError, QueueFullError, ServingEngine

VOICES = (None, "red", "blue")


def request(voice: str | None, number: int = 0, tokens: int = 12) -> Request:
    prompt = tuple(3 + (7 * number + 5 * place) % 90 for place in range(4 + number % 9))
    return Request(prompt, tokens, frozenset(), use_adapter=voice is not None, adapter=voice)


def alone(model: Any, asked: Request) -> list[int]:
    """By transformers' own `generate`, one row, with PEFT's own switching."""
    ids = torch.tensor([asked.prompt_ids])
    options: dict[str, Any] = {"max_new_tokens": asked.max_new_tokens, "do_sample": False, "eos_token_id": None}
    options |= {"attention_mask": torch.ones_like(ids), "pad_token_id": 0}
    if not hasattr(model, "peft_config"):
        return model.generate(input_ids=ids, **options)[0, ids.shape[1] :].tolist()
    if asked.adapter is None:
        with model.disable_adapter():
            return model.generate(input_ids=ids, **options)[0, ids.shape[1] :].tolist()
    model.set_adapter(asked.adapter)
    return model.generate(input_ids=ids, **options)[0, ids.shape[1] :].tolist()


@contextmanager
def running(
    model: Any, slots: int = 4, waiting: int = 100, gate: Callable[[], None] | None = None
) -> Iterator[ServingEngine]:
    if gate is not None:
        model.register_forward_pre_hook(lambda *_: gate())
    engine = ServingEngine(model, slots=slots, capacity_tokens=120, waiting=waiting)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def finish(rows: list[Row]) -> list[list[int]]:
    eventually(lambda: all(row.finish_reason for row in rows))
    return [row.token_ids for row in rows]


def submit(engine: ServingEngine, *requests: Request) -> list[Row]:
    return engine.submit(requests, lambda: None, {})


def test_mixed_voices_that_join_one_by_one_answer_as_alone() -> None:
    asked = [request(VOICES[n % 3], n, tokens=6 + n % 7) for n in range(14)]
    expected = [alone(model_with_adapters(), one) for one in asked]
    assert len({tuple(alone(model_with_adapters(), request(voice, 1))) for voice in VOICES}) == 3
    with running(model_with_adapters()) as engine:
        rows = [submit(engine, one)[0] for one in asked]
        assert finish(rows) == expected
        assert all(row.finish_reason == "length" for row in rows)
        eventually(lambda: engine.num_active == engine.num_waiting == 0)


def test_adapters_that_cannot_be_mixed_take_turns() -> None:
    asked = [request(VOICES[n % 3], n) for n in range(7)]
    expected = [alone(model_with_adapters(use_dora=True), one) for one in asked]
    with running(model_with_adapters(use_dora=True)) as engine:
        assert finish([submit(engine, one)[0] for one in asked]) == expected


def test_a_cancelled_row_frees_its_slot_and_leaves_no_trace() -> None:
    expected = alone(model_with_adapters(), request("red", 2))
    with running(model_with_adapters(), slots=1) as engine:
        (endless,) = submit(engine, request("blue", 1, tokens=110))
        (queued,) = submit(engine, request(None, 3, tokens=110))
        eventually(lambda: len(endless.token_ids) > 2)
        (next_one,) = submit(engine, request("red", 2))
        engine.cancel([endless, queued])
        assert finish([next_one]) == [expected]
        assert endless.finish_reason is None
        assert queued.token_ids == []
        eventually(lambda: engine.num_waiting == 0)


def test_a_full_queue_takes_none_of_a_request() -> None:
    gate = threading.Event()
    with running(model_with_adapters(), slots=1, waiting=2, gate=lambda: gate.wait(10) and None) as engine:
        submit(engine, request(None), request(None, 1))
        with pytest.raises(QueueFullError):
            submit(engine, request(None), request(None))
        last = submit(engine, request(None, 2))
        gate.set()
        finish(last)


def test_a_step_that_fails_ends_its_rows_and_no_others() -> None:
    fails = threading.Event()

    def gate() -> None:
        if fails.is_set():
            fails.clear()
            raise RuntimeError("out of memory")

    with running(model_with_adapters(), slots=1, gate=gate) as engine:
        failures: dict[Row, Exception] = {}
        told = threading.Event()
        fails.set()
        (broken,) = engine.submit([request("red")], told.set, failures)
        assert told.wait(10)
        assert isinstance(failures[broken], RuntimeError)
        assert finish(submit(engine, request("blue"))) == [alone(model_with_adapters(), request("blue"))]


def test_an_adapter_is_taken_off_when_its_last_answer_is_whole(tmp_path: Path) -> None:
    model_with_adapters().save_pretrained(tmp_path)
    with running(model_with_adapters()) as engine:
        (row,) = submit(engine, request("red", 1, tokens=60))
        done = engine.change(lambda model: remove_adapter(model, "red"), without_voice="red")
        done.result(10)
        assert row.token_ids == alone(model_with_adapters(), request("red", 1, tokens=60))
        with pytest.raises(InputError, match="red"):
            submit(engine, request("red"))
        for name in ("blue", "other"):
            (kept,) = submit(engine, request("blue", 4, tokens=100))
            eventually(lambda row=kept: len(row.token_ids) > 1)
            if name == "other":  # while another answer is on its way
                engine.change(lambda model: add_adapter(model, tmp_path / "red", "other")).result(10)
            (again,) = submit(engine, request(name, 1))
            expected = alone(model_with_adapters(), request("red" if name == "other" else "blue", 1))
            assert finish([kept, again]) == [alone(model_with_adapters(), request("blue", 4, tokens=100)), expected]


def test_the_first_and_the_last_adapter_of_a_plain_model(tmp_path: Path) -> None:
    model_with_adapters().save_pretrained(tmp_path)
    bare = model_with_adapters().unload()
    with running(bare) as engine:
        expected = alone(model_with_adapters(), request(None, 5))
        assert finish(submit(engine, request(None, 5))) == [expected]
        engine.change(lambda model: add_adapter(model, tmp_path / "blue", "a1")).result(10)
        rows = submit(engine, request("a1", 5), request(None, 5))
        assert finish(rows) == [alone(model_with_adapters(), request("blue", 5)), expected]
        engine.change(lambda model: remove_adapter(model, "a1"), without_voice="a1").result(10)
        assert finish(submit(engine, request(None, 5))) == [expected]


def test_an_adapter_that_would_end_mixing_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    model_with_adapters(["wide"], use_dora=True).save_pretrained(tmp_path)
    narrow: Any = tiny_model("llama-tied", vocab_size=60)
    get_peft_model(narrow, LoraConfig(r=2, target_modules=["embed_tokens"]), adapter_name="narrow").save_pretrained(
        tmp_path
    )
    with running(model_with_adapters()) as engine:
        with pytest.raises(ModelError, match="one batch"):
            engine.change(lambda model: add_adapter(model, tmp_path / "wide", "x")).result(10)
        with pytest.raises(ModelError, match="fit"):
            engine.change(lambda model: add_adapter(model, tmp_path / "narrow", "y")).result(10)
        assert sorted(engine.model.peft_config) == ["blue", "red"]
        rows = submit(engine, *(request(voice) for voice in VOICES))
        assert finish(rows) == [alone(model_with_adapters(), request(voice)) for voice in VOICES]


def test_what_waits_when_it_is_stopped_is_told() -> None:
    gate = threading.Event()
    failures: dict[Row, Exception] = {}
    with running(model_with_adapters(), slots=1, gate=lambda: gate.wait(0.05) and None) as engine:
        rows = engine.submit([request(None), request("red")], lambda: None, failures)
    assert {type(failures[row]) for row in rows} == {EngineStoppedError}
    with pytest.raises(EngineStoppedError):
        submit(engine, request(None))


@pytest.mark.parametrize("is_bare", [True, False])
@pytest.mark.parametrize("damage", ["cut", "another shape"])
def test_a_damaged_adapter_leaves_the_model_as_it_was(tmp_path: Path, is_bare: bool, damage: str) -> None:
    model_with_adapters().save_pretrained(tmp_path)
    file = tmp_path / "red" / "adapter_model.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        tensors = load_file(file)
        last = sorted(tensors)[-1]  # the others have been put on the model by then
        save_file({**tensors, last: torch.ones(3, 3)}, file, metadata={"format": "pt"})
    with running(model_with_adapters().unload() if is_bare else model_with_adapters()) as engine:
        names = [name for name, _ in engine.model.named_modules()]
        with pytest.raises(ModelError, match="fit"):
            engine.change(lambda model: add_adapter(model, tmp_path / "red", "x")).result(10)
        assert [name for name, _ in engine.model.named_modules()] == names
        voices = (None,) if is_bare else VOICES
        asked = [request(voice, 3) for voice in voices]
        assert finish(submit(engine, *asked)) == [alone(model_with_adapters(), one) for one in asked]
        engine.change(lambda model: add_adapter(model, tmp_path / "blue", "y")).result(10)
        (row,) = submit(engine, request("y", 3))
        assert finish([row]) == [alone(model_with_adapters(), request("blue", 3))]
