"""Data sets of the Hugging Face hub by name → files on this machine that are read like any other.

    hub:owner/name                    the split "train" of the only configuration (or of "default")
    hub:owner/name/config             the split "train" of one configuration
    hub:owner/name/config/split       one split

What is fetched is the hub's own conversion of the data set to Parquet (branch refs/convert/parquet), into the hub client's
cache; no code of the data set is run. Offline, what is in the cache is used. A name without ``hub:`` is a path, so that a
mistyped path never fetches somebody's data.
"""

from __future__ import annotations

import difflib
import re
import threading
from collections.abc import Iterable
from typing import NamedTuple

from luthier.errors import DataError

HUB_PREFIX = "hub:"
BRANCH = "refs/convert/parquet"
DEFAULT_SPLIT = "train"
SECONDS_TO_ANSWER = 5.0
_LISTED = 10


class HubName(NamedTuple):
    """A data set of the hub, and what of it."""

    repository: str
    config: str | None
    split: str | None


def is_hub_name(name: str) -> bool:
    """Whether a name of data means the hub."""
    return name.startswith(HUB_PREFIX)


def read_hub_name(name: str) -> HubName:
    """Take a name apart.

    Raises:
        DataError: It is none.
    """
    parts = name.removeprefix(HUB_PREFIX).split("/")
    if not 2 <= len(parts) <= 4 or not all(re.fullmatch(r"\w[\w.-]*", part) for part in parts):
        raise DataError(
            f"'{name}' names no data set of the hub. Write hub:owner/name, hub:owner/name/config or "
            "hub:owner/name/config/split; search with: luthier data find WORDS"
        )
    return HubName("/".join(parts[:2]), *(*parts[2:], None, None)[:2])


def hub_files(name: str) -> list[str]:
    """The Parquet files that a name stands for, fetched if they are not in the cache.

    Raises:
        DataError: There is no such data set, configuration or split, it cannot be had, or the hub is out of reach.
    """
    wanted = read_hub_name(name)
    offline = why_unreachable()
    if offline is not None:
        return _cached_files(name, wanted, offline)
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"https://huggingface.co/datasets/{wanted.repository}"
    try:
        listed = HfApi().list_repo_files(wanted.repository, repo_type="dataset", revision=BRANCH)
        return [
            str(hf_hub_download(wanted.repository, file, repo_type="dataset", revision=BRANCH))
            for file in _chosen(name, wanted, listed)
        ]
    except GatedRepoError as error:
        raise DataError(
            f"{name} asks for an agreement: accept it at {page}, then log in with: hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        raise DataError(
            f"{name}: the hub holds no Parquet conversion of it (it is too large, private, or made by code). Fetch its own "
            f"files: hf download {wanted.repository} --repo-type dataset --local-dir FOLDER, then: luthier data inspect FOLDER"
        ) from error
    except RepositoryNotFoundError as error:
        raise DataError(
            f"The hub has no data set '{wanted.repository}', or it is private (log in with: hf auth login). Search with: "
            f"luthier data find {wanted.repository.partition('/')[2]}"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise DataError(
            f"{name} could not be fetched: {_first_line(error)} Check the network and try again."
        ) from error


def why_unreachable(seconds: float = SECONDS_TO_ANSWER) -> str | None:
    """Why the hub cannot be asked; None where it answers, within `seconds`.

    Looking a name up may take a minute where there is no network, and cannot be stopped: it is done aside.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    reasons: list[str | None] = []
    thread = threading.Thread(target=lambda: reasons.append(_knock(constants.ENDPOINT, seconds)), daemon=True)
    thread.start()
    thread.join(seconds + 1)
    return reasons[0] if reasons else f"{constants.ENDPOINT} did not answer in {seconds:.0f} s"


def unreachable(what: str, reason: str, instead: str) -> DataError:
    """The error that says so, and what to do."""
    return DataError(
        f"{what}: the hub cannot be reached ({reason}).\n{instead}\nWith a network: unset HF_HUB_OFFLINE; behind a proxy set "
        "HTTPS_PROXY, for a mirror HF_ENDPOINT."
    )


def _knock(address: str, seconds: float) -> str | None:
    import urllib.error
    import urllib.request

    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError:
        return None  # it answers
    except (OSError, ValueError) as error:
        return f"{address}: {getattr(error, 'reason', None) or error}"
    return None


def _cached_files(name: str, wanted: HubName, reason: str) -> list[str]:
    from pathlib import Path

    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    instead = (
        f"Fetch it where there is a network (luthier data inspect {name}), then it is used from the cache; or copy its files "
        "here and name them: data.train: FILE.parquet"
    )
    try:
        folder = Path(snapshot_download(wanted.repository, repo_type="dataset", revision=BRANCH, local_files_only=True))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise unreachable(f"{name} is not on this machine", reason, instead) from error
    listed = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))
    try:
        return [str(folder / file) for file in _chosen(name, wanted, listed)]
    except DataError as error:
        raise unreachable(f"{error}\nOnly a part of it is on this machine", reason, instead) from error


def _chosen(name: str, wanted: HubName, listed: Iterable[str]) -> list[str]:
    """Files of one split, in order."""
    splits: dict[str, dict[str, list[str]]] = {}
    for file in sorted(listed):
        config, _, rest = file.partition("/")
        split, _, _ = rest.partition("/")
        if file.endswith(".parquet") and split:
            splits.setdefault(config, {}).setdefault(split, []).append(file)
    if not splits:
        raise DataError(f"{name}: there is no Parquet file in its conversion.")
    config = wanted.config or ("default" if "default" in splits else next(iter(splits)) if len(splits) == 1 else None)
    if config is None:
        raise DataError(f"{name} has {len(splits)} configurations; name one: hub:{wanted.repository}/{_named(splits)}")
    if config not in splits:
        raise DataError(f"{name}: there is no configuration '{config}'{_meant(config, splits)}")
    split = wanted.split or DEFAULT_SPLIT
    if split not in splits[config]:
        partly = f"partial-{split}"
        if partly in splits[config]:
            raise DataError(
                f"{name}: the hub converted only the beginning of '{split}'. To use that: "
                f"hub:{wanted.repository}/{config}/{partly}"
            )
        raise DataError(
            f"{name}: there is no split '{split}'{_meant(split, splits[config])} Name one: "
            f"hub:{wanted.repository}/{config}/SPLIT"
        )
    return splits[config][split]


def _named(names: Iterable[str]) -> str:
    names = list(names)
    more = f" … ({len(names) - _LISTED} more)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{near[0]}'? There are: {_named(known)}." if near else f"; there are: {_named(known)}."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
