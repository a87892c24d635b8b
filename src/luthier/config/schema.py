"""The JSON schema of recipes, for editors and other programs; descriptions are the fields' own documentation."""

from __future__ import annotations

from typing import Any

from luthier.config.recipe import Recipe


def recipe_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a recipe."""
    schema = Recipe.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Luthier recipe"}
