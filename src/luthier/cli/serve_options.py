"""What `luthier serve` can be told about who may ask, where runs are, and what is taken at most."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PromptTokens = Annotated[int, typer.Option("--max-prompt-tokens", min=1, help="Of one prompt.")]
OutputTokens = Annotated[int, typer.Option("--max-output-tokens", min=1, help="Of one answer.")]
Concurrent = Annotated[int, typer.Option("--max-concurrent", min=1, help="Answers in progress at once.")]
Queue = Annotated[int, typer.Option("--max-queue", min=0, help="Answers that may wait; then 429.")]
BodyBytes = Annotated[int, typer.Option("--max-body-bytes", min=1, help="Of one request.")]
AnswerSeconds = Annotated[float, typer.Option("--answer-seconds", min=1, help="An answer may take, waiting included.")]
DrainSeconds = Annotated[float, typer.Option("--drain-seconds", min=0, help="For what is running at the end.")]
CacheGib = Annotated[float, typer.Option("--cache-gib", min=0.001, help="Memory for keys and values.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--api-key-file", help="Keys, one a line; also LUTHIER_API_KEYS, between commas.", show_default=False),
]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Folder of runs, also of those loaded later.")]
