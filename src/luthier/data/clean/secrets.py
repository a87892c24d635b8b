"""Keys and tokens of a known form become tags."""

from __future__ import annotations

from luthier.data.clean.redacted import redacting
from luthier.data.personal.find import find_known_secrets

REPAIR = redacting("secrets", "replace keys and tokens by tags", ("secret",), find_known_secrets)
