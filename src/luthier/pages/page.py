"""One self-contained HTML page from a template: its style and script inside it, and nothing else allowed to load or run."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render_page(
    template: str,
    view: Mapping[str, Any],
    *,
    folders: Sequence[Path],
    styles: Sequence[Path],
    script: Path,
    talks_to_server: bool = False,
) -> str:
    """Render a template.

    Args:
        template: Its file name.
        view: What it shows. `style`, `script` and `policy` are added for its head and end.
        folders: Where it and what it imports are looked up.
        styles: CSS files, in order.
        script: JavaScript file.
        talks_to_server: Whether the script may ask the server that the page came from; no other in any case.
    """
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_json"] = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    style = "\n".join(path.read_text(encoding="utf-8") for path in styles)
    code = script.read_text(encoding="utf-8")
    # The hashes let exactly this style and this script run, and nothing that came in with an answer or a prompt.
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(code)}'; base-uri 'none'; form-action 'none'"
    policy += "; connect-src 'self'" if talks_to_server else ""
    return environment.get_template(template).render(view, style=style, script=code, policy=policy)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
