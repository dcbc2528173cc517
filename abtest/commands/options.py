"""Define the options that several commands share."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from abtest.commands import completion
from abtest.console import Console
from abtest.errors import UsageError

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="A dataset directory, or 'demo' for the built-in world.",
        autocompletion=completion.data,
    ),
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
Engine = Annotated[
    str,
    typer.Option("--engine", help="local (default), or ray: the machines of a Ray cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="With --engine ray: auto, HOST:PORT or ray://HOST:PORT; default: this machine alone.",
    ),
]
JobsAtATime = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="With --engine ray: tasks at a time; default: per core."),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", help="Of text that is neither UTF-8 nor UTF-16, as gbk."),
]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", help="Between cells; default: found out.")
]
Decimal = Annotated[
    str | None,
    typer.Option("--decimal", help="Decimal mark of numbers: , or . (default: found out)."),
]
BadRows = Annotated[
    str,
    typer.Option(
        "--bad-rows",
        help="fail (default), or skip and count them.",
        autocompletion=completion.choices("fail", "skip"),
    ),
]
Html = Annotated[
    Path | None, typer.Option("--html", help="Also write a page in the look of the report.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what exists.")]
Llm = Annotated[
    str | None,
    typer.Option(
        "--llm",
        help="lsvcr: align with this causal language model first: a Hugging Face name, "
        "a directory, or 'embedded'.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="lsvcr: small (default), base or paper.",
        autocompletion=completion.choices("small", "base", "paper"),
    ),
]
Interference = Annotated[
    bool,
    typer.Option(
        "--interference",
        help="People change the platform for each other; an online test is held against its truth.",
    ),
]

_LSVCR = "lsvcr"


def command_line() -> str:
    """The command that is being run, for pages that say how to make them again."""
    return shlex.join(["abtest", *sys.argv[1:]])


def put_page(text: str, path: Path, console: Console) -> None:
    """Write a page and say where it is.

    Raises:
        UsageError: it cannot be written.
    """
    from reports.render.page import write_page

    try:
        write_page(text, path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}.", "Choose another --html"
        ) from None
    console.say(f"page: {path}")


def lsvcr_settings(
    llm: str | None, preset: str | None, policies: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Settings per policy that --llm and --preset stand for; nothing if neither was given.

    Raises:
        UsageError: lsvcr is not among the policies or their parts.
    """
    # Imported here: listing commands shall not load numpy and polars.
    from policies.registry import parts_of

    settings: dict[str, Any] = {}
    if llm is not None:
        settings |= {"llm": llm, "alignment": "llm"}
    if preset is not None:
        settings["preset"] = preset
    trained = {part for spec in policies for part in parts_of(spec) or (spec,)}
    if settings and _LSVCR not in trained:
        flag = "--llm" if llm is not None else "--preset"
        raise UsageError(f"{flag} is a setting of {_LSVCR}, which is not trained here.")
    return {_LSVCR: settings} if settings else {}
