"""Read policy settings from a benchmark's command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def settings_of(parts: Iterable[str]) -> dict[str, Any]:
    """Of ``NAME=VALUE`` each, the values as in JSON; empty parts are skipped."""
    pairs = (part.partition("=") for part in parts if part)
    return {name: json.loads(value) for name, _, value in pairs}
