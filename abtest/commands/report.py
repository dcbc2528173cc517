"""`abtest report` and `abtest compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from abtest.commands import options
from abtest.errors import ExitCode, RunDataError, UsageError

RunPath = Annotated[Path, typer.Argument(help="A run directory.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("report")(report)
    app.command("compare")(compare)


def _load(path: Path) -> object:
    from abtest.run.run_directory import RunDirectory
    from reports.results import ExperimentResult

    RunDirectory.open(path)
    file = path / "results.json"
    if not file.is_file():
        raise RunDataError(
            f"{path} has no results yet.", f"Continue it: abtest run --resume {path}"
        )
    return ExperimentResult.from_json(file.read_text(encoding="utf-8"))


def report(run: RunPath, as_json: options.Json = False) -> None:
    """Show a finished run again, and write its report.html anew.

    [bold]Example[/bold]

      abtest report runs/lsvcr-vs-sasrec
    """
    from reports.render.html import write_html
    from reports.render.terminal import render
    from reports.results import ExperimentResult

    result = _load(run)
    assert isinstance(result, ExperimentResult)
    write_html(result, run / "report.html")
    if as_json:
        typer.echo(result.to_json(), nl=False)
        return
    ascii_only = "utf" not in (sys.stdout.encoding or "ascii").lower()
    typer.echo(render(result, width=None, ascii_only=ascii_only, color=sys.stdout.isatty()))
    typer.echo(f"\nReport: {run / 'report.html'}")
    if any(check.status == "fail" for check in result.health):
        raise typer.Exit(int(ExitCode.UNTRUSTWORTHY))


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run directories.")],
) -> None:
    """Put the primary metric of several runs side by side.

    [bold]Example[/bold]

      abtest compare runs/lsvcr-vs-sasrec runs/lsvcr-vs-sasrec-2
    """
    from reports.render.comparison import render_comparison
    from reports.results import ExperimentResult

    if len(runs) < 2:
        raise UsageError("compare needs two runs.", "Example: abtest compare runs/a runs/b")
    loaded: list[tuple[str, ExperimentResult]] = []
    for path in runs:
        result = _load(path)
        assert isinstance(result, ExperimentResult)
        loaded.append((str(path), result))
    ascii_only = "utf" not in (sys.stdout.encoding or "ascii").lower()
    typer.echo(render_comparison(loaded, ascii_only=ascii_only))
