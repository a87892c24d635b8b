"""The JSON schema accepts what the loader accepts, refuses what it refuses, and documents every field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from luthier.config import LoraSection, Recipe
from luthier.config.fields import recipe_fields
from luthier.config.load import load_recipe, recipe_schema
from luthier.config.problems import describe_field, leaf_fields
from luthier.errors import InputError

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml"))
MINIMAL: dict[str, Any] = {"model": {"name": "m"}, "data": {"train": "demo:shop-sql"}, "run": {"name": "r"}}


def test_schema_is_valid_and_every_field_is_documented() -> None:
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for name, definition in schema["$defs"].items():
        for field, content in definition["properties"].items():
            assert content.get("description"), f"{name}.{field}"
    assert schema["$defs"]["LoraSection"]["properties"]["rank"]["minimum"] == 1


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_shipped_recipes_are_short_and_valid(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 30
    load_recipe(path)
    # safe_load reads 2e-4 as a word (YAML 1.1); the shipped recipes avoid that by writing 2.0e-4.
    jsonschema.validate(yaml.safe_load(path.read_text()), recipe_schema())


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"nme": "m"}},
        {"data": {"train": 3}},
        {"adapter": {"rank": 0}},
        {"adapter": {"kind": "none", "rank": 4}},
        {"train": {"schedule": "spiral"}},
        {"run": {"name": "a b"}},
    ],
)
def test_schema_refuses_what_the_loader_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(MINIMAL | change, recipe_schema())


@pytest.mark.parametrize(
    "change", [{}, {"adapter": {"rank": 8}}, {"adapter": {"kind": "none"}}, {"data": {"train": ["a", "b"]}}]
)
def test_schema_accepts_what_the_loader_accepts(change: dict[str, Any]) -> None:
    assert load_recipe(MINIMAL | change).recipe.model.name == "m"
    assert list(jsonschema.Draft202012Validator(recipe_schema()).iter_errors(MINIMAL | change)) == []


def test_fields_describe_themselves() -> None:
    assert describe_field(LoraSection.model_fields["rank"]) == "a whole number of at least 1"
    assert describe_field(LoraSection.model_fields["target_modules"]) == (
        "one of all-linear, attention, mlp or a list of texts"
    )
    for name, fields in leaf_fields(Recipe).items():  # a new type of field must come with its description
        assert describe_field(*fields), name
    (kind,) = recipe_fields("adapter.kind")
    assert (kind["takes"], kind["default"]) == ("one of lora, peft, existing, none", "lora")
    assert len(recipe_fields("adapter")) == 18
    with pytest.raises(InputError, match=r"Did you mean 'train.epochs'\?"):
        recipe_fields("train.epchs")


def test_defaults_are_the_promised_ones() -> None:
    recipe = load_recipe(MINIMAL).recipe
    train, adapter = recipe.train, recipe.adapter
    assert isinstance(adapter, LoraSection)
    assert (adapter.rank, adapter.alpha, adapter.dropout, adapter.target_modules) == (16, 32.0, 0.0, "all-linear")
    assert (train.epochs, train.batch_size, train.schedule, train.warmup_fraction) == (3.0, 16, "cosine", 0.05)
    assert (train.weight_decay, train.max_grad_norm, recipe.data.validation_fraction) == (0.01, 1.0, 0.1)
