"""A GGUF file, read back by transformers' own reader, is the model and the tokenizer that it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoTokenizer

from luthier.data.template import ChatTemplate
from luthier.errors import ModelError
from luthier.export.companions import full_template
from luthier.export.gguf.lora import plan_lora, read_updates, write_lora
from luthier.export.gguf.read import metadata_differences, read_field, read_model, read_stops, read_tokenizer
from luthier.export.gguf.write import plan_gguf, write_gguf
from luthier.export.merge import network_names, plan_merge
from luthier.export.peft_folder import read_peft_folder
from luthier.export.weight_files import WeightFiles
from luthier.models.contract import InferenceContract
from tests.tiny import tiny_model, tiny_tokenizer

FAMILIES = ["llama", "llama-tied", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"]
TEXT = "SELECT name FROM x WHERE city = 'Oslo' 12345;\n\n <|im_end|> don't Äé 漢字 🙂"


def written(folder: Path, family: str, kind: str, **overrides: Any) -> tuple[Any, Path]:
    tokenizer = tiny_tokenizer()
    scale = {"query_pre_attn_scalar": 8} if family.startswith("gemma") else {}
    shape: dict[str, Any] = (
        {"vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 96} | scale | overrides
    )
    model = tiny_model(family, **shape)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    config = AutoConfig.from_pretrained(folder)
    template = ChatTemplate.from_tokenizer(tokenizer)
    contract = InferenceContract.from_template(template, base_model="tiny")
    weights = WeightFiles.open(folder)
    merge = plan_merge(weights, network_names(config), [], num_tokens=len(tokenizer))
    plan = plan_gguf(merge, config, tokenizer, contract.stop_token_ids, tokenizer.eos_token_id, kind)
    path = folder / "model.gguf"
    write_gguf(
        plan,
        path,
        name="tiny",
        licence="Apache-2.0",
        merge=merge,
        weights=weights,
        config=config,
        template=template,
        contract=contract,
        chat_template=full_template(tokenizer, contract),
    )
    return model, path


def kl(model: Any, other: Any) -> float:
    ids = torch.arange(3, 63).reshape(2, 30)
    with torch.no_grad():
        p, q = (each(ids).logits.double().log_softmax(-1) for each in (model, other))
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.mark.parametrize("family", FAMILIES)
def test_f32_is_the_model(family: str, tmp_path: Path) -> None:
    model, path = written(tmp_path, family, "f32")
    config = AutoConfig.from_pretrained(tmp_path)
    assert kl(model, read_model(path, config)) <= 1e-5
    assert metadata_differences(path, config) == []
    assert read_stops(path) == (2,)


def test_the_metadata_alone_rebuild_a_llama(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, GgufConfig

    model, path = written(tmp_path, "llama", "f32")
    rebuilt = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    assert kl(model, rebuilt) <= 1e-5


def test_mistral_without_reaching_its_window(tmp_path: Path) -> None:
    model, path = written(tmp_path, "mistral-window", "f32", sliding_window=64)
    assert kl(model, read_model(path, AutoConfig.from_pretrained(tmp_path))) <= 1e-5


def test_types_grow_worse_in_their_order(tmp_path: Path) -> None:
    kinds = ["f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m"]
    found = []
    for kind in kinds:
        model, path = written(tmp_path / kind, "llama", kind, hidden_size=256, intermediate_size=512)
        found.append(kl(model, read_model(path, AutoConfig.from_pretrained(tmp_path / kind))))
        types = {tensor.tensor_type for tensor in gguf.GGUFReader(path).tensors if len(tensor.shape) > 1}
        assert gguf.GGMLQuantizationType.F32 not in types
    assert found == sorted(found)
    assert found[0] < 1e-5
    assert found[-1] < 0.3


def test_q4_k_m_mixes_as_llama_cpp_does(tmp_path: Path) -> None:
    _, path = written(tmp_path, "llama", "q4_k_m", hidden_size=256, intermediate_size=512, num_hidden_layers=8)
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert types["output.weight"] == "Q6_K"
    assert types["token_embd.weight"] == "Q4_K"
    assert types["blk.0.attn_norm.weight"] == "F32"
    # use_more_bits of llama-quant.cpp for 8 layers: the first, the last, and 3 and 6 between
    assert [i for i in range(8) if types[f"blk.{i}.ffn_down.weight"] == "Q6_K"] == [0, 3, 6, 7]
    assert [i for i in range(8) if types[f"blk.{i}.attn_v.weight"] == "Q6_K"] == [0, 3, 6, 7]
    assert types["blk.3.attn_q.weight"] == "Q4_K"


def test_narrow_rows_fall_back(tmp_path: Path) -> None:
    _, path = written(tmp_path, "llama-tied", "q4_k_m", intermediate_size=80)
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert types["token_embd.weight"] == "Q8_0"  # Q6_K for a tied head, 64 wide
    assert types["blk.0.attn_q.weight"] == "Q5_0"
    assert types["blk.0.ffn_down.weight"] == "F16"  # 80 is no multiple of 32 either


def test_llama_3_frequencies(tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    model, path = written(tmp_path, "llama", "f32", rope_parameters=rope, max_position_embeddings=256)
    found = next(t for t in gguf.GGUFReader(path).tensors if t.name == "rope_freqs.weight").data
    width = 16
    plain = 1.0 / 500_000.0 ** (np.arange(0, width, 2) / width)
    scaled = model.model.rotary_emb.inv_freq.numpy()
    np.testing.assert_allclose(plain / found, scaled, rtol=1e-5)  # transformers' frequencies, by another road


def test_the_tokenizer_comes_back(tmp_path: Path) -> None:
    _, path = written(tmp_path, "llama", "f32")
    tokenizer = read_tokenizer(path)
    assert tokenizer(TEXT).input_ids == tiny_tokenizer()(TEXT).input_ids
    reader = gguf.GGUFReader(path)
    assert read_field(reader, "tokenizer.ggml.pre") == "gpt-2"
    assert read_field(reader, "tokenizer.chat_template") == tiny_tokenizer().chat_template


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["qwen2_5", "phi4", "mistral_nemo", "mistral_v3", "smollm2", "deepseek_r1_distill_qwen"]
)
def test_real_tokenizers_come_back(name: str, shared_data: Path, tmp_path: Path) -> None:
    import tarfile

    from transformers import PreTrainedTokenizerFast

    from luthier.export.gguf.vocabulary import add_vocabulary, read_vocabulary

    with tarfile.open(shared_data / "tokenizers.tar.xz") as archive:
        members = [m for m in archive.getmembers() if m.name.startswith(f"tokenizers/{name}/")]
        archive.extractall(tmp_path, members, filter="data")
    folder = tmp_path / "tokenizers" / name
    # Phi-4's class is read as GPT-2's otherwise, which splits text in another way.
    auto: Any = PreTrainedTokenizerFast if name == "phi4" else AutoTokenizer
    tokenizer = auto.from_pretrained(folder)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"
    template = ChatTemplate.from_tokenizer(tokenizer)
    rows = max(tokenizer.get_vocab().values()) + 9
    writer = gguf.GGUFWriter(str(tmp_path / "v.gguf"), "llama")
    add_vocabulary(writer, read_vocabulary(tokenizer, rows), template, [tokenizer.eos_token_id], "x")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    again = read_tokenizer(tmp_path / "v.gguf")
    encode = {"add_special_tokens": False}
    for text in (TEXT, "1234567 tokens", "def f(x):\n\treturn x  # ok", "Ünïcödé — “quotes”", "a  b   c\n\n\n"):
        assert again(text, **encode).input_ids == tokenizer(text, **encode).input_ids, text


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"rank_pattern": {"o_proj": 2}}])
@pytest.mark.parametrize("family", ["llama", "qwen2", "phi3"])
def test_an_adapter_file_holds_pefts_updates(family: str, options: dict[str, Any], tmp_path: Path) -> None:
    """W + (α / r) B A in llama.cpp's order of rows is what merging and then converting gives."""
    model = tiny_model(family)
    config = LoraConfig(r=4, lora_alpha=7, target_modules="all-linear", task_type="CAUSAL_LM", **options)
    peft_model = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in peft_model.named_parameters():
            if "lora_B" in name:
                parameter.add_(torch.randn_like(parameter))
    peft_model.save_pretrained(str(tmp_path))
    path = tmp_path / "lora.gguf"
    write_lora(plan_lora(read_peft_folder(tmp_path), model.config), path, name="x", config=model.config)
    updates = read_updates(path)
    assert {tensor.name for tensor in gguf.GGUFReader(path).tensors} >= {"blk.0.attn_output.weight.lora_a"}
    attention = "model.layers.1.self_attn.qkv_proj" if family == "phi3" else "model.layers.1.self_attn.q_proj"
    for module, own in [
        (attention, "attn_qkv" if family == "phi3" else "attn_q"),
        ("model.layers.0.self_attn.o_proj", "attn_output"),
    ]:
        layer = peft_model.get_submodule(f"base_model.model.{module}")
        expected = layer.get_delta_weight("default").detach().numpy()
        if family == "llama" and own == "attn_q":  # heads of width 8: halves become neighbours
            order = [head * 8 + half * 4 + i for head in range(4) for i in range(4) for half in range(2)]
            expected = expected[order]
        block = module.split(".")[2]
        np.testing.assert_allclose(updates[f"blk.{block}.{own}.weight"], expected, atol=1e-5)


def test_more_than_lora_has_no_place_in_an_adapter_file(tmp_path: Path) -> None:
    config = LoraConfig(r=4, use_dora=True, target_modules=["q_proj"], task_type="CAUSAL_LM")
    model = tiny_model("llama")
    get_peft_model(model, config).save_pretrained(str(tmp_path))
    with pytest.raises(ModelError, match="DoRA"):
        plan_lora(read_peft_folder(tmp_path), model.config)


def test_families_without_a_mapping_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no GGUF mapping for models of type 'granite'"):
        written(tmp_path, "granite", "f32")


def test_what_llama_cpp_would_compute_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"scaled by 256\^-0.5"):
        written(tmp_path, "gemma2", "f32", query_pre_attn_scalar=256)
