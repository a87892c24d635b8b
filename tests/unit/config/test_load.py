"""Loading recipes: every fault at once with its line, overrides, origins, and a resolved text that reads back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.config import ExistingSection, FullSection, LoraSection, PeftSection, Recipe, TrainSection
from luthier.config.fields import field_like
from luthier.config.load import dump_resolved, load_recipe, resolve
from luthier.errors import RecipeError

MINIMAL: dict[str, Any] = {"model": {"name": "m"}, "data": {"train": "demo:shop-sql"}, "run": {"name": "r"}}


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(recipe: Any, overrides: list[str] | None = None) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, overrides or [])
    assert caught.value.exit_code == 2
    assert "pydantic" not in str(caught.value)
    return list(caught.value.problems)


def with_section(section: str, **values: Any) -> dict[str, Any]:
    return MINIMAL | {section: {**MINIMAL.get(section, {}), **values}}


def test_all_problems_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
model:
  nme: x
  attention: spda
data:
  train: demo:shop-sql
  validation_fraction: 1.5
  validation_fraction: 0.5
run: {name: "a b"}
adapter:
  kind: lora
  rank: 0
train:
  epochs: true
  lr: 2e-4
  schedule:
learning_rate: 3
""",
    )
    found = problems_of(path, ["train.epoch=3", "nonsense"])
    assert [p.removeprefix(f"{path}:").partition(" ")[0] for p in found] == [
        "7:", "override", "1:", "2:", "3:", "6:", "8:", "11:", "13:", "14:", "15:", "16:", "override",
    ]  # fmt: skip
    text = "\n".join(found)
    assert f"{path}:7: data.validation_fraction: the key stands here a second time (first in line 6)." in text
    assert f"{path}:1: model.name: missing." in text
    assert f"{path}:2: model.nme: unknown key 'nme'. Did you mean 'name'?" in text
    assert "found 'spda'. Did you mean 'sdpa'?" in text
    assert f"{path}:6: data.validation_fraction: expected a number of at least 0 and below 1, found 1.5." in text
    assert f"{path}:11: adapter.rank: expected a whole number of at least 1, found 0." in text
    assert f"{path}:13: train.epochs: expected a number above 0, found true." in text
    assert (
        f"{path}:14: train.lr: unknown key 'lr'. Did you mean 'learning_rate'?" in text
        or "'train.learning_rate'" in text
    )
    assert f"{path}:15: train.schedule: expected one of cosine, linear, constant, found nothing" in text
    assert f"{path}:16: learning_rate: unknown key 'learning_rate'. Did you mean 'train.learning_rate'?" in text
    assert "override 'train.epoch=3': train.epoch: unknown key 'epoch'. Did you mean 'epochs'?" in text
    assert "override 'nonsense': an override is a dotted key, '=' and a value" in text


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("model:\n  name: [a\nrun: b\n", 3, "not valid YAML"),
        ("model:\n\tname: a\n", 2, "not valid YAML"),
        ("", 1, "the file is empty"),
        ("# only words\n", 1, "the file is empty"),
        ("- a\n- b\n", 1, "this is a list"),
        ("smollm2\n", 1, "this is a single value"),
        ("model: {name: a}\n---\nmodel: {name: b}\n", 2, "not valid YAML: but found another document"),
        ("a: \x07\n", 1, "character #x0007 is not allowed"),
        ("model:\n  name: &x [*x]\n", 2, "an anchor that contains itself"),
        ("model:\n  name: !!python/name:os.system x\n", 2, "cannot be used in a recipe"),
    ],
)
def test_broken_yaml_names_file_and_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = write(tmp_path, text)
    first = problems_of(path)[0]
    assert first.startswith(f"{path}:{line}: ")
    assert words in first


def test_missing_file_names_the_similar_one(tmp_path: Path) -> None:
    (tmp_path / "sft_lora.yaml").write_text("")
    assert problems_of(tmp_path / "sft_lroa.yaml") == [
        f"There is no file {tmp_path}/sft_lroa.yaml. Did you mean {tmp_path}/sft_lora.yaml?"
    ]
    assert "is a folder. Recipes in" in problems_of(tmp_path)[0]
    assert "does not exist either" in problems_of(tmp_path / "nowhere" / "a.yaml")[0]
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff")
    assert "not UTF-8" in problems_of(tmp_path / "picture.yaml")[0]


@pytest.mark.parametrize(
    ("section", "values", "expected"),
    [
        ("adapter", {"rank": 1.5}, "adapter.rank: expected a whole number of at least 1, found 1.5."),
        (
            "adapter", {"target_modules": 3},
            "adapter.target_modules: expected one of all-linear, attention, mlp or a list of texts, found 3.",
        ),
        ("adapter", {"target_modules": ["a", 3]}, "adapter.target_modules[1]: expected text, found 3."),
        (
            "adapter", {"kind": "dora"},
            "adapter.kind: expected one of lora, peft, existing, none, found 'dora'. Did you mean 'lora'?",
        ),
        ("adapter", {"dropout": 1}, "adapter.dropout: expected a number of at least 0 and below 1, found 1."),
        ("adapter", {"rnak": 1}, "adapter.rnak: unknown key 'rnak'. Did you mean 'rank'?"),
        ("train", {"max_steps": 0}, "train.max_steps: expected a whole number of at least 1 or null, found 0."),
        ("train", {"learning_rate": float("inf")}, "train.learning_rate: expected a number above 0 or null, found .inf."),
        ("train", {"seed": True}, "train.seed: expected a whole number of at least 0, found true."),
        ("train", {"gradient_checkpointing": "so"}, "train.gradient_checkpointing: expected auto or true or false, found 'so'."),
        ("data", {"train": []}, "data.train: expected text or a list of texts with at least 1 in it, found []."),
        ("data", {"columns": {"prompt": 3}}, "data.columns.prompt: expected text, found 3."),
        ("data", {"rank": 3}, "data.rank: unknown key 'rank'. Did you mean 'adapter.rank'?"),
        ("data", {"zzz": 3}, "data.zzz: unknown key 'zzz'. Keys here: train, validation, validation_fraction, format"),
    ],
)  # fmt: skip
def test_every_kind_of_fault_has_our_own_words(section: str, values: dict[str, Any], expected: str) -> None:
    found = problems_of(with_section(section, **values))
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_section_of_a_wrong_type() -> None:
    kinds = (LoraSection, PeftSection, ExistingSection, FullSection)
    adapter_keys = dict.fromkeys(name for kind in kinds for name in kind.model_fields)
    assert problems_of(MINIMAL | {"adapter": "none", "model": "m", "train": "x"}) == [
        "model: expected a section with the keys name, revision, attention, chat_template, found 'm'. Write model: {name: m}",
        f"adapter: expected a section with the keys {', '.join(adapter_keys)}, found 'none'. "
        "Write adapter: {kind: none}",
        f"train: expected a section with the keys {', '.join(TrainSection.model_fields)}, found 'x'.",
    ]


@pytest.mark.parametrize(
    ("name", "proposal"),
    [("my run", "my-run"), ("Käse & Wein", "Kase-Wein"), ("../x", "x"), ("run/1", "run-1"), ("日本", None)],
)
def test_a_run_name_that_cannot_be_a_folder_comes_with_one_that_can(name: str, proposal: str | None) -> None:
    (found,) = problems_of(with_section("run", name=name))
    assert found.startswith(f"run.name: '{name}' cannot be used. Name of the run")
    assert found.endswith(f"For instance: {proposal}") is (proposal is not None)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("model:\n\tname: a\n", "indented with a tab"),
        ("data:\n  train: a\n   limit: 3\n", "Is the line indented further than the one above?"),
        ("data:\n  train: a\n limit: 3\n", "indented otherwise than those it belongs to"),
        ("model: {name: a\n", "The bracket that opens in line 1 is not closed"),
        ('run: {name: a}\nmodel: {name: "a}\n', "The quote that opens in line 2 is not closed"),
        ("data: {train: *.jsonl}\n", "needs quotes"),
        ("data: {train: @a}\n", "needs quotes"),
    ],
)
def test_broken_yaml_says_what_it_may_be(tmp_path: Path, text: str, hint: str) -> None:
    assert hint in problems_of(write(tmp_path, text))[0]


def test_data_in_place_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    (found,) = problems_of(tmp_path / "rows.jsonl")
    assert "is a data file. A recipe is a YAML file that names it: data: {train: rows.jsonl}" in found


@pytest.mark.parametrize(
    ("word", "field"),
    [
        ("epochs", "train.epochs"),
        ("epoch", "train.epochs"),
        ("lr", "train.learning_rate"),
        ("train.learning_rat", "train.learning_rate"),
        ("lora_r", "adapter.rank"),
        ("detach", None),
    ],
)
def test_the_field_that_a_word_means(word: str, field: str | None) -> None:
    assert field_like(word) == field


def test_a_model_folder_beside_the_recipe_or_here_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run could not be resumed, nor talked with, from another folder."""
    for folder in ("recipes/mine", "work/here", "work/org/both", "recipes/org/both"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "work")
    for name, folder in (("mine", "recipes/mine"), ("here", "work/here"), ("org/both", "recipes/org/both")):
        path = write(tmp_path / "recipes", f"model: {{name: {name}}}\ndata: {{train: a}}\nrun: {{name: r}}\n")
        assert load_recipe(path).recipe.model.name == str(tmp_path / folder)
    assert load_recipe(MINIMAL | {"model": {"name": "here"}}).recipe.model.name == str(tmp_path / "work" / "here")


def test_keys_of_another_adapter_kind_are_explained() -> None:
    found = problems_of(with_section("adapter", rank=8), ["adapter.kind=none"])
    assert "It is not a key of the kind 'none'" in found[0]
    assert isinstance(
        load_recipe(with_section("adapter", rank=8), ["adapter={kind: none}"]).recipe.adapter, FullSection
    )


def test_overrides_are_yaml_values() -> None:
    overrides = [
        "train.learning_rate=2e-4",
        "train.epochs=1",
        "adapter.rank=8",
        "adapter.target_modules=[q_proj, v_proj]",
        "data.columns.prompt=question",
        "data.columns.completion=sql",
        "data.system_prompt='a=b: c'",
        "train.max_steps=null",
    ]
    recipe = load_recipe(MINIMAL, overrides).recipe
    assert recipe.train.learning_rate == 0.0002
    assert recipe.train.epochs == 1.0
    assert isinstance(recipe.adapter, LoraSection)
    assert recipe.adapter.rank == 8
    assert recipe.adapter.target_modules == ("q_proj", "v_proj")
    assert recipe.data.columns == {"prompt": "question", "completion": "sql"}
    assert recipe.data.system_prompt == "a=b: c"
    assert recipe.train.max_steps is None


def test_the_last_override_wins_and_the_given_mapping_stays_as_it_was() -> None:
    given_mapping = with_section("train", seed=1)
    loaded = load_recipe(given_mapping, ["train.seed=2", "train.seed=3"])
    assert loaded.recipe.train.seed == 3
    assert given_mapping["train"] == {"seed": 1}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.seed", "an override is a dotted key"),
        ("=3", "an override is a dotted key"),
        ("train..seed=3", "an override is a dotted key"),
        ("train.seed=[1", "the value is not valid YAML"),
        ("run.name.first=a", "'run.name' is a value, not a section"),
        ("trian.seed=3", "trian: unknown key 'trian'. Did you mean 'train'?"),
        ("train.seed=x", "train.seed: expected a whole number of at least 0, found 'x'."),
    ],
)
def test_a_bad_override_is_named(override: str, words: str) -> None:
    found = problems_of(MINIMAL, [override])
    assert len(found) == 1
    assert found[0].startswith(f"override '{override}': ")
    assert words in found[0]


def test_yaml_1_2_words_and_numbers(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "model: {name: no, revision: '1e3'}\ndata: {train: 'demo:shop-sql', limit: 010, system_prompt: on}\n"
        "run: {name: yes}\ntrain: {learning_rate: 3e-5, gradient_checkpointing: yes}\nadapter:\n",
    )
    recipe = load_recipe(path).recipe
    assert (recipe.model.name, recipe.model.revision, recipe.data.system_prompt, recipe.run.name) == (
        "no",
        "1e3",
        "on",
        "yes",
    )
    assert recipe.data.limit == 10
    assert recipe.train.learning_rate == 3e-5
    assert recipe.train.gradient_checkpointing is True
    assert recipe.adapter == LoraSection()  # an empty section is the default section


def test_origins(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "model:\n  name: m\ndata:\n  train: [a.jsonl]\n  columns: {prompt: q}\nrun: {name: r}\ntrain:\n  epochs: 2\n  seed: 1\n",
    )
    origins = load_recipe(path, ["train.seed=5", "data.columns.completion=a"]).origins
    assert origins["model.name"] == "recipe.yaml:2"
    assert origins["data.train"] == "recipe.yaml:4"
    assert origins["data.columns"] == "override"
    assert origins["run.name"] == "recipe.yaml:6"
    assert origins["train.epochs"] == "recipe.yaml:8"
    assert origins["train.seed"] == "override"
    assert origins["train.beta1"] == "default"
    assert origins["train.learning_rate"] == "default for adapters"
    assert origins["adapter.rank"] == "default"
    full = load_recipe(path, ["adapter.kind=none"]).origins
    assert full["train.learning_rate"] == "default for full fine-tuning"
    assert full["adapter.kind"] == "override"
    assert "adapter.rank" not in full
    assert load_recipe(MINIMAL).origins["model.name"] == "given"


def test_learning_rate_follows_the_adapter() -> None:
    assert resolve(load_recipe(MINIMAL)).train.learning_rate == 2e-4
    assert resolve(load_recipe(MINIMAL, ["adapter.kind=none"])).train.learning_rate == 2e-5
    assert resolve(load_recipe(MINIMAL, ["train.learning_rate=1e-3"])).train.learning_rate == 1e-3


def test_paths_start_at_the_recipe_or_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "work").mkdir()
    path = write(
        tmp_path / "recipes",
        "model: {name: ./model, chat_template: t.jinja}\n"
        "data: {train: [../a.jsonl, /b.jsonl, 'demo:shop-sql'], validation: v.csv}\nrun: {name: r}\n",
    )
    monkeypatch.chdir(tmp_path / "work")
    recipe = load_recipe(path, ["data.validation=w.csv"]).recipe
    assert recipe.data.train == (str(tmp_path / "a.jsonl"), "/b.jsonl", "demo:shop-sql")
    assert recipe.data.validation == (str(tmp_path / "work" / "w.csv"),)
    assert recipe.model.name == str(tmp_path / "recipes" / "model")
    assert recipe.model.chat_template == str(tmp_path / "recipes" / "t.jinja")
    assert recipe.run.folder == "runs"
    assert load_recipe(MINIMAL | {"model": {"name": "org/name"}}).recipe.model.name == "org/name"


def test_every_line_of_the_resolved_recipe_names_its_origin() -> None:
    loaded = load_recipe(MINIMAL, ["train.seed=7"])
    lines = dump_resolved(resolve(loaded), loaded.origins).splitlines()
    assert "  seed: 7  # override" in lines
    assert "  learning_rate: 0.0002  # default for adapters" in lines
    values = [line for line in lines if not line.endswith(":")]
    assert len(values) == len(loaded.origins)
    assert all("  # " in line for line in values)


words = st.text(max_size=30)
paths = st.lists(
    words.filter(lambda t: t.strip() != "").map(lambda t: "/data/" + t.replace("/", "_")), min_size=1, max_size=3
)
recipes = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries(
            {"name": words.filter(lambda t: not t.startswith(("~", ".")))},
            optional={"revision": st.none() | words, "attention": st.sampled_from(["auto", "varlen", "eager"])},
        ),
        "data": st.fixed_dictionaries(
            {"train": paths},
            optional={
                "columns": st.dictionaries(words, words, max_size=3),
                "system_prompt": st.none() | words,
                "validation_fraction": st.floats(0, 1, exclude_max=True),
            },
        ),
        "run": st.fixed_dictionaries({"name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)}),
        "adapter": st.just({"kind": "none"})
        | st.fixed_dictionaries(
            {},
            optional={
                "rank": st.integers(1, 999),
                "target_modules": st.lists(words, min_size=1) | st.just("all-linear"),
            },
        ),
        "train": st.fixed_dictionaries(
            {},
            optional={
                "learning_rate": st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False),
                "seed": st.integers(0, 2**62),
                "gradient_checkpointing": st.booleans(),
                "max_steps": st.none() | st.integers(1, 10**9),
            },
        ),
    }
)


@settings(max_examples=150, deadline=None)
@given(recipes)
def test_dumped_recipe_loads_back_equal(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    loaded = load_recipe(data)
    resolved = resolve(loaded)
    text = dump_resolved(resolved, loaded.origins)
    path = write(tmp_path_factory.mktemp("dump"), text)
    again = load_recipe(path)
    assert again.recipe == resolved
    assert resolve(again) == resolved
    # An independent reader agrees that it is one document with the same sections.
    assert set(yaml.safe_load(text)) == set(Recipe.model_fields)


def test_reading_recipes_needs_no_torch() -> None:
    code = "import sys, luthier.config.load as m; m.load_recipe; assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
