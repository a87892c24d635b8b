"""Random-looking values that a password or key is set to become tags."""

from __future__ import annotations

from luthier.data.clean.redacted import redacting
from luthier.data.personal.find import find_assigned_secrets

REPAIR = redacting(
    "possible_secrets", "replace what may be passwords by tags", ("possible_secret",), find_assigned_secrets
)
