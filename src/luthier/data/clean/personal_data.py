"""What reaches a person becomes a tag."""

from __future__ import annotations

from luthier.data.clean.redacted import redacting
from luthier.data.personal.find import find_personal_data
from luthier.data.redact import PERSONAL

REPAIR = redacting("personal_data", "replace personal data by tags", PERSONAL, find_personal_data)
