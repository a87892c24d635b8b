"""``response_format``: JSON that was asked for is checked when the answer is whole; the model is not forced to write it.

An answer that is no such JSON is refused with the reason. It is never sent as if it were. Needs jsonschema (extra [serve]).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from luthier.serve.refusal import RefusedError, bad

# `pattern` runs a client's regular expression over a model's text: some take longer than the universe has.
_REFUSED_WORDS = frozenset({"pattern", "patternProperties"})
_EXCERPT = 300


@dataclass(frozen=True)
class ResponseFormat:
    """JSON objects of any kind, or, with a validator, those that fit a schema."""

    validator: Any = None

    def check(self, text: str) -> None:
        """Hold an answer against it.

        Raises:
            RefusedError: It does not fit (422).
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _unmet(f"it is not JSON ({error})", text) from error
        if self.validator is None:
            if not isinstance(value, dict):
                raise _unmet("it is JSON, but no object", text)
            return
        try:
            problem = next(iter(self.validator.iter_errors(value)), None)
        except Exception as error:  # a reference that leads nowhere shows only now
            raise bad(f"The schema cannot be used: {error}", "response_format") from error
        if problem is not None:
            raise _unmet(f"it does not fit the schema at {problem.json_path}: {problem.message[:_EXCERPT]}", text)


def read_response_format(value: Any) -> ResponseFormat | None:
    """What the field asks for; None for text.

    Raises:
        RefusedError: It asks for something else, or the schema is none (400).
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise bad('response_format must be an object such as {"type": "json_object"}.', "response_format")
    kind = value.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return ResponseFormat()
    if kind != "json_schema":
        raise bad("response_format.type may be text, json_object or json_schema.", "response_format")
    outer = value.get("json_schema")
    schema = outer.get("schema") if isinstance(outer, dict) else None
    if not isinstance(schema, dict):
        raise bad("response_format.json_schema.schema must be an object.", "response_format")
    return ResponseFormat(_validator(schema))


def _validator(schema: dict[str, Any]) -> Any:
    try:
        import jsonschema
        from jsonschema.validators import validator_for
        from referencing import Registry
    except ImportError as error:
        raise RefusedError(501, "json_schema needs the package jsonschema on the server: pip install 'luthier[serve]'",
                           param="response_format") from error  # fmt: skip
    if found := _words(schema) & _REFUSED_WORDS:
        raise bad(f"The schema uses {', '.join(sorted(found))}, which this server does not check.", "response_format")
    kind = validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise bad(
            f"The schema is none: {error.message[:_EXCERPT]} (at {error.json_path})", "response_format"
        ) from error
    return kind(schema, registry=Registry())  # an empty registry: references never fetch anything


def _words(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        return set(schema).union(*map(_words, schema.values()))
    return set().union(*map(_words, schema)) if isinstance(schema, list) else set()


def _unmet(why: str, text: str) -> RefusedError:
    shown = text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"
    return RefusedError(
        422,
        f"The model's answer is not what response_format asks for: {why}. Answers are checked here, not forced. "
        f"It was: {shown!r}",
        param="response_format",
        code="response_format_not_met",
    )
