"""Give tests a small world in which a day is over after few pages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from simulator.world.config import WorldConfig

QUIET = {
    "visits_per_day": 1.5,
    "visits_person_cv": 0.4,
    "session_seconds": 300.0,
    "session_person_sigma": 0.3,
    "open_base": -8.5,
    "comment_like_base": -4.0,
}
"""Few and short visits, in which comments are opened and liked often.

A day of the preset `small` has hundreds of pages, of this one a fifth of that, and a page takes
milliseconds, whoever looks at it.
"""


def quiet_world(**changes: float) -> WorldConfig:
    """The preset `small` with `QUIET`, and changes."""
    return dataclasses.replace(WorldConfig.preset("small"), **{**QUIET, **changes})


def quiet_world_file(folder: Path) -> str:
    """The same as a file, as people write one."""
    file = folder / "quiet.toml"
    lines = ['base = "small"', *(f"{name} = {value}" for name, value in QUIET.items())]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)
