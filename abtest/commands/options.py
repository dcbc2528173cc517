"""Options shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    str | None,
    typer.Option("--data", help="A dataset directory, or 'demo' for the built-in world."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of people's noise and the split.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A TOML file; default: ./abtest.toml if present.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes; the result does not depend on it."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what exists.")]
