"""`luthier recipe`: check a recipe, look up its fields, print its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.views import show_fields, show_recipe
from luthier.config.fields import recipe_fields
from luthier.config.load import load_recipe, recipe_schema, resolve

app = typer.Typer(add_completion=False, help="Check a recipe, show its fields, print its schema.")


@app.command()
def check(
    recipe: Annotated[Path, typer.Argument(help="Recipe file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Dotted values: train.epochs=1", show_default=False)
    ] = None,
) -> Outcome:
    """Check a recipe and what it names without training, and print every value with its origin. All problems come at once."""
    loaded = load_recipe(recipe, overrides or ())

    from luthier.workflows.check_recipe import require_inputs

    require_inputs(loaded)
    content = {"recipe": resolve(loaded).model_dump(mode="json"), "origins": dict(loaded.origins)}
    return Outcome(content, lambda console: show_recipe(console, loaded, recipe, overrides or ()))


@app.command()
def schema() -> Outcome:
    """Print the JSON schema of recipes, for editors and other programs."""
    content = recipe_schema()
    return Outcome(content, lambda console: console.print(json.dumps(content, indent=2), soft_wrap=True))


@app.command()
def show(
    section: Annotated[
        str | None, typer.Argument(help="Only this section or field, e.g. train or train.epochs.")
    ] = None,
) -> Outcome:
    """Show every field of a recipe: what it takes, its default and what it does."""
    fields = recipe_fields(section)
    return Outcome({"fields": fields}, lambda console: show_fields(console, fields))
