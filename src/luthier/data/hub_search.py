"""Data sets of the Hugging Face hub that fit some words: how large, under what licence, with what columns, in what layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from luthier.data.hub import unreachable, why_unreachable
from luthier.data.layouts import LAYOUTS
from luthier.data.preferences import LABEL_COLUMNS, PREFERENCE_COLUMNS
from luthier.errors import DataError, InputError

MOST_RESULTS = 100
_BY_LIST_COLUMN = {"messages": "messages", "conversations": "sharegpt"}


@dataclass(frozen=True)
class HubDataset:
    """A data set of the hub; what it does not say of itself is empty or None.

    Attributes:
        name: ``owner/name``.
        downloads: In the last 30 days.
        licence: As its card says.
        num_rows: Of all splits of its first configuration.
        size_class: Of its card, where the number of rows is not known: 10K<n<100K.
        num_bytes: To download.
        columns: Of its first configuration.
        configs: Names of configurations.
        layout: What its columns would be read as; empty where they fit none.
        is_gated: Whether one must accept conditions first.
        updated: Day of the last change.
    """

    name: str
    downloads: int
    licence: str
    num_rows: int | None
    size_class: str
    num_bytes: int | None
    columns: tuple[str, ...]
    configs: tuple[str, ...]
    layout: str
    is_gated: bool
    updated: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def find_datasets(query: str, limit: int = 20) -> list[HubDataset]:
    """Search the hub, the most downloaded first.

    Args:
        query: Words of names.
        limit: Results at most.

    Raises:
        InputError: There are no words, or the limit makes no sense.
        DataError: The hub is out of reach or refuses.
    """
    if not query.strip():
        raise InputError("Say what to search for: luthier data find 'text to sql'")
    if not 1 <= limit <= MOST_RESULTS:
        raise InputError(f"--limit is {limit}; it must be 1 to {MOST_RESULTS}.")
    reason = why_unreachable()
    if reason is not None:
        raise unreachable(
            "Nothing could be searched",
            reason,
            "Data that are on this machine need no hub: luthier data inspect FILE. luthier data generate makes data from "
            "documents or tables.",
        )
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint=constants.ENDPOINT)
    try:
        found = list(api.list_datasets(search=query.strip(), sort="downloads", limit=limit, full=True))
    except (HfHubHTTPError, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"The hub did not answer the search: {first} Try again later.") from error
    return [_described(info) for info in found]


def _described(info: Any) -> HubDataset:
    tags = [str(tag) for tag in info.tags or ()]
    card: Mapping[str, Any] = info.card_data.to_dict() if info.card_data is not None else {}
    described = card.get("dataset_info")
    configs = [c for c in (described if isinstance(described, list) else [described]) if isinstance(c, dict)]
    first: Mapping[str, Any] = configs[0] if configs else {}
    columns = tuple(str(f["name"]) for f in first.get("features") or () if isinstance(f, dict) and "name" in f)
    splits: list[Any] = [s for s in first.get("splits") or () if isinstance(s, dict)]
    rows = [s["num_examples"] for s in splits if isinstance(s.get("num_examples"), int)]
    updated = info.last_modified
    return HubDataset(
        name=info.id,
        downloads=int(info.downloads or 0),
        licence=_after(tags, "license:"),
        num_rows=sum(rows) if rows and len(rows) == len(splits) else None,
        size_class=_after(tags, "size_categories:"),
        num_bytes=first["download_size"] if isinstance(first.get("download_size"), int) else None,
        columns=columns,
        configs=tuple(str(c["config_name"]) for c in configs if "config_name" in c),
        layout=layout_of(columns),
        is_gated=bool(info.gated),
        updated="" if updated is None else updated.date().isoformat(),
    )


def layout_of(columns: Sequence[str]) -> str:
    """What rows with these columns are read as, as far as names tell; "" where they fit no layout."""
    there = set(columns)
    if any(there.issuperset(pair) for pair in PREFERENCE_COLUMNS):
        return "preference"
    lists = [layout for column, layout in _BY_LIST_COLUMN.items() if column in there]
    if lists:
        return lists[0]
    for name, layout in LAYOUTS.items():
        if layout.item_key is None and any(there.issuperset(needed) for needed in layout.needed):
            is_labelled = name == "prompt_completion" and there.intersection(LABEL_COLUMNS)
            is_classified = name == "text" and "label" in there
            return "kto" if is_labelled else "classification" if is_classified else name
    return ""


def _after(tags: Sequence[str], prefix: str) -> str:
    return ", ".join(tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix))
