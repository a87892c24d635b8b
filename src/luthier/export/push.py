"""Puts a verified export on the hub. First a plan of what would be seen there; nothing leaves before it is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.errors import EndpointError, InputError
from luthier.export.aside import RECORD_FILE
from luthier.export.record import ExportRecord, FileRecord


@dataclass(frozen=True)
class PushPlan:
    """What would be uploaded.

    Attributes:
        repo_id: owner/name.
        files: All of the export, and its record.
        private: Whether only its owner can see it.
    """

    folder: Path
    repo_id: str
    files: tuple[FileRecord, ...]
    private: bool

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(file.num_bytes for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "repo": self.repo_id,
            "private": self.private,
            "files": [file.path for file in self.files],
            "bytes": self.num_bytes,
        }


def check_repo_id(repo_id: str) -> None:
    """Refuse what is no hub id.

    Raises:
        InputError: It is not owner/name.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"'{repo_id}' is no hub id: {error}") from error
    if repo_id.count("/") != 1:
        raise InputError(f"'{repo_id}' is no hub id. Give owner/name, such as my-name/my-model.")


def plan_push(folder: Path, repo_id: str, *, private: bool = True) -> PushPlan:
    """What an upload would send.

    Raises:
        InputError: It is no export, was not verified, or the id is none.
    """
    check_repo_id(repo_id)
    record = ExportRecord.load(folder)
    if not record.verified:
        raise InputError(f"{folder} was exported with --no-verify, so it is not put on the hub. Export it again.")
    own = folder / RECORD_FILE
    files = (*record.files, FileRecord(RECORD_FILE, own.stat().st_size, ""))
    return PushPlan(folder, repo_id, files, private)


def push(plan: PushPlan) -> str:
    """Upload; returns the address.

    Raises:
        InputError: There is no token in the environment.
        EndpointError: The hub is out of reach, or refuses.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    token = get_token()
    if token is None:
        raise InputError(
            "The hub asks who you are: set HF_TOKEN to a token with write access, or log in with: hf auth login"
        )
    api = HfApi(token=token)
    try:
        url = api.create_repo(plan.repo_id, private=plan.private, exist_ok=True)
        api.upload_folder(
            repo_id=plan.repo_id,
            folder_path=str(plan.folder),
            commit_message="Exported with Luthier",
            allow_patterns=[file.path for file in plan.files],
        )
    except OfflineModeIsEnabled as error:
        raise EndpointError(
            "HF_HUB_OFFLINE is set, so nothing is sent. Unset it and push again; the export is on the disk.",
            ends_all=True,
        ) from error
    except (HfHubHTTPError, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EndpointError(
            f"The hub did not take {plan.repo_id}: {first} The export is on the disk; push it again.", ends_all=True
        ) from error
    return str(url)
