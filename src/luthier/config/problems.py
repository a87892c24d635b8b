"""What is wrong with a recipe, in words a person can act on: pydantic's findings, told by path, expectation and value.

Every sentence is built from the section's own fields (type, bounds, documentation), so that a new field needs nothing here.
"""

from __future__ import annotations

import re
import types
import unicodedata
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from luthier.config.yaml_source import KeyPath, format_path, write_value

# What the same thing is called elsewhere (transformers, PEFT, Axolotl, LLaMA-Factory, TRL).
NAMES_ELSEWHERE: Mapping[str, str] = {
    "base_model": "model.name",
    "model_name_or_path": "model.name",
    "dataset": "data.train",
    "max_seq_length": "data.max_length",
    "sequence_len": "data.max_length",
    "cutoff_len": "data.max_length",
    "val_set_size": "data.validation_fraction",
    "r": "adapter.rank",
    "lora_r": "adapter.rank",
    "lora_alpha": "adapter.alpha",
    "lora_dropout": "adapter.dropout",
    "lora_target": "adapter.target_modules",
    "layers_to_transform": "adapter.layers",
    "use_rslora": "adapter.rslora",
    "use_dora": "adapter.dora",
    "init_lora_weights": "adapter.init",
    "loraplus_lr_ratio": "adapter.loraplus_ratio",
    "peft_type": "adapter.method",
    "neftune_noise_alpha": "train.neftune_alpha",
    "optim": "train.optimizer",
    "load_in_4bit": "precision.base",
    "load_in_8bit": "precision.base",
    "lr": "train.learning_rate",
    "num_train_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "total_batch_size": "train.batch_size",
    "lr_scheduler_type": "train.schedule",
    "warmup_ratio": "train.warmup_fraction",
    "output_dir": "run.folder",
}


class Problem(NamedTuple):
    """One fault: where in the recipe, and what."""

    path: KeyPath
    message: str


class _Place(NamedTuple):
    """A pydantic location, read: the path without union labels, and what stands there."""

    path: KeyPath
    field: FieldInfo | None
    below: KeyPath
    """Part of the path that lies inside the field's value: list indices, mapping keys."""
    sections: tuple[type[BaseModel], ...]
    """The section, or the kinds of section, that the path leads into."""
    owners: tuple[type[BaseModel], ...]
    """The section that holds the last key."""


def explain(error: ValidationError, model: type[BaseModel], data: Any) -> list[Problem]:
    """One problem per path, however many of pydantic's findings it took."""
    places: dict[KeyPath, tuple[_Place, ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        place = _read_location(details["loc"], model, data)
        if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
            key = str(details.get("ctx", {}).get("discriminator", "")).strip("'")
            place = _read_location((*place.path, key), model, data)
        places.setdefault(place.path, (place, details))
    # A value that may be a list or a word yields a finding for each; the one inside the list says more.
    for path in [p for p in places if any(len(q) > len(p) and q[: len(p)] == p for q in places)]:
        del places[path]
    return [Problem(path, _sentence(place, details, model, data)) for path, (place, details) in places.items()]


def _read_location(location: Sequence[str | int], model: type[BaseModel], data: Any) -> _Place:
    path: KeyPath = ()
    below: KeyPath = ()
    field: FieldInfo | None = None
    sections: tuple[type[BaseModel], ...] = (model,)
    owners: tuple[type[BaseModel], ...] = (model,)
    for part in location:
        if sections and isinstance(part, str):
            holders = tuple(s for s in sections if part in s.model_fields)
            tagged = tuple(s for s in sections if part in _tags(s))
            if holders:
                owners, field = holders, holders[0].model_fields[part]
                path = (*path, part)
                sections = _sections(field.annotation)
            elif len(sections) > 1 and tagged:
                sections = tagged
            else:
                owners, field, sections = sections, None, ()
                path = (*path, part)
        elif field is not None and _holds(_value_at(data, path), part):
            path = (*path, part)
            below = (*below, part)
    return _Place(path, field, below, sections, owners)


def _tags(section: type[BaseModel]) -> set[str]:
    """What the kind of a section is called: its literals with one value; those with several are choices within it."""
    fields = (f.annotation for f in section.model_fields.values())
    return {str(get_args(a)[0]) for a in fields if get_origin(a) is Literal and len(get_args(a)) == 1}


def _sections(annotation: Any) -> tuple[type[BaseModel], ...]:
    return tuple(a for a in _alternatives(annotation) if isinstance(a, type) and issubclass(a, BaseModel))


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, (list, tuple)):
        return isinstance(part, int) and part < len(value)  # pyright: ignore[reportUnknownArgumentType]
    return isinstance(value, Mapping) and part in value


def _value_at(data: Any, path: KeyPath) -> Any:
    for part in path:
        if not _holds(data, part):
            return None
        data = data[part]
    return data


def _sentence(place: _Place, details: ErrorDetails, model: type[BaseModel], data: Any) -> str:
    name = format_path(place.path) or "the recipe"
    if details["type"] == "extra_forbidden":
        return f"{name}: unknown key '{place.path[-1]}'. {_suggestion(place, model)}"
    if details["type"] == "missing":
        words = f"{name}: missing. {_documentation(place)}".rstrip()
        needed = [k for s in place.sections for k, f in s.model_fields.items() if f.is_required()]
        return f"{words} It needs: {', '.join(needed)}." if needed else words
    if details["type"] == "value_error":
        return f"{name}: {details.get('ctx', {}).get('error', details['msg'])}"
    value = _value_at(data, place.path)
    if details["type"] == "string_pattern_mismatch":
        return f"{name}: {_found(value)} cannot be used. {_documentation(place)}{_fitting(value, details)}"
    sentence = f"{name}: expected {_expected(place)}, found {_found(value)}.{_as_section(place, value)}"
    choices = [str(c) for a in _leaves(place) if get_origin(a) is Literal for c in get_args(a)]
    near = get_close_matches(value, choices, n=1) if isinstance(value, str) else []
    return f"{sentence} Did you mean '{near[0]}'?" if near else sentence


def _fitting(value: Any, details: ErrorDetails) -> str:
    """The same word with dashes in place of what a pattern refuses, where that is enough."""
    plain = unicodedata.normalize("NFKD", str(value)).encode("ascii", "ignore").decode()
    proposal = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")
    fits = re.search(details.get("ctx", {}).get("pattern", "$^"), proposal)
    return f" For instance: {proposal}" if fits else ""


def _as_section(place: _Place, value: Any) -> str:
    """How a lone word that stands where a section belongs is meant, if it can be told."""
    if not place.sections or not isinstance(value, str):
        return ""
    key = str(place.path[-1])
    tags = {tag for section in place.sections for tag in _tags(section)} if len(place.sections) > 1 else set[str]()
    needed = [name for section in place.sections for name, field in section.model_fields.items() if field.is_required()]
    if value in tags:
        return f" Write {key}: {{kind: {value}}}"
    return f" Write {key}: {{{needed[0]}: {value}}}" if needed and not tags else ""


def _documentation(place: _Place) -> str:
    return " ".join((place.field.description or "").split()) if place.field else ""


def _suggestion(place: _Place, model: type[BaseModel]) -> str:
    key, section = str(place.path[-1]), format_path(place.path[:-1])
    siblings = list(dict.fromkeys(name for s in place.owners for name in s.model_fields))
    everywhere = leaf_fields(model)
    known = NAMES_ELSEWHERE.get(key) or next((p for p in everywhere if p.endswith(f".{key}")), None)
    near = get_close_matches(key, siblings, n=1)
    if known is None and near:
        return f"Did you mean '{near[0]}'?"
    if known is None:
        far = get_close_matches(key, [p.rpartition(".")[2] for p in everywhere], n=1, cutoff=0.8)
        known = next((p for p in everywhere if far and p.endswith(f".{far[0]}")), None)
    if known and known.rpartition(".")[0] == section:
        name = known.rpartition(".")[2]
        if name in siblings:
            return f"Did you mean '{name}'?"
        kinds = ", ".join(sorted({tag for s in place.owners for tag in _tags(s)}))
        return f"It is not a key of the kind '{kinds}'; replace the whole section, e.g. {section}={{kind: {kinds}}}."
    if known:
        return f"Did you mean '{known}'?"
    return f"Keys here: {', '.join(siblings)}."


def leaf_fields(model: type[BaseModel], prefix: str = "") -> dict[str, tuple[FieldInfo, ...]]:
    """All fields that hold values, by dotted path, in the order of the sections; several where kinds share a name."""
    leaves: dict[str, tuple[FieldInfo, ...]] = {}
    for name, field in model.model_fields.items():
        sections = _sections(field.annotation)
        for section in sections:
            for leaf, fields in leaf_fields(section, f"{prefix}{name}.").items():
                leaves[leaf] = (*leaves.get(leaf, ()), *fields)
        if not sections:
            leaves[prefix + name] = (field,)
    return leaves


def _leaves(place: _Place) -> tuple[Any, ...]:
    if place.field is None:
        return ()
    annotations = _alternatives(place.field.annotation)
    for _ in place.below:
        annotations = tuple(
            get_args(a)[-1 if get_origin(a) is dict else 0] for a in annotations if get_origin(a) in (dict, tuple)
        )
    if len(place.owners) > 1:  # the tag itself: what each kind calls itself
        tag = str(place.path[-1])
        return tuple(o.model_fields[tag].annotation for o in place.owners)
    return annotations


def _expected(place: _Place) -> str:
    if place.field is None:
        return "a mapping of keys"
    sections = place.sections
    if sections:
        keys = dict.fromkeys(name for s in sections for name in s.model_fields)
        return f"a section with the keys {', '.join(keys)}"
    return describe(_leaves(place), () if place.below else place.field.metadata)


def describe_field(*fields: FieldInfo) -> str:
    """What a field takes, in words: ``a whole number of at least 1 or null``. Several: the same field of several kinds."""
    return describe([a for field in fields for a in _alternatives(field.annotation)], fields[0].metadata)


def describe(annotations: Sequence[Any], metadata: Sequence[Any]) -> str:
    """What values of these types and bounds look like, in words."""
    for item in metadata:
        if isinstance(item, BeforeValidator) and get_args(item.json_schema_input_type):
            annotations = _alternatives(item.json_schema_input_type)
    choices = list(dict.fromkeys(str(c) for a in annotations if get_origin(a) is Literal for c in get_args(a)))
    words = [_type_words(a, metadata) for a in annotations if get_origin(a) is not Literal]
    if choices:
        words.insert(0, f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0])
    return " or ".join(dict.fromkeys(words))


def _type_words(annotation: Any, metadata: Sequence[Any]) -> str:
    if annotation is int:
        return "a whole number" + _bounds(metadata)
    if annotation is float:
        return "a number" + _bounds(metadata)
    plain = {str: "text", bool: "true or false", type(None): "null"}
    if annotation in plain:
        return plain[annotation]
    inner = get_args(annotation)
    if get_origin(annotation) is tuple and get_origin(inner[0]) is Literal:
        return f"a list of {', '.join(map(str, get_args(inner[0])))}" + _bounds(metadata)
    if get_origin(annotation) is tuple:
        words = "a list of texts" if inner[0] is str else f"a list, each {_type_words(inner[0], ())}"
        return words + _bounds(metadata)
    if annotation is Any:
        return "any value"
    if get_origin(annotation) is dict:
        return f"a mapping of names to {_type_words(inner[1], ())}"
    raise NotImplementedError(f"recipe fields of the type {annotation} have no description yet")


def _bounds(metadata: Sequence[Any]) -> str:
    words: list[str] = []
    for item in metadata:
        match item:
            case annotated_types.Ge(ge=bound):
                words.append(f"of at least {bound:g}")
            case annotated_types.Gt(gt=bound):
                words.append(f"above {bound:g}")
            case annotated_types.Le(le=bound):
                words.append(f"of at most {bound:g}")
            case annotated_types.MinLen(min_length=bound):
                words.append(f"with at least {bound} in it")
            case annotated_types.Lt(lt=bound):
                words.append(f"below {bound:g}")
            case _:
                pass
    return " " + " and ".join(words) if words else ""


def _found(value: Any) -> str:
    if value is None:
        return "nothing (the key has no value)"
    plain = isinstance(value, (int, float, bool, list, tuple, Mapping))
    text = write_value(value) if plain else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
