"""Show finished runs: `abtest report` and `abtest compare`."""

from __future__ import annotations

import enum
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from abtest.commands import completion, options
from abtest.console import Console, colored
from abtest.errors import ExitCode, UsageError
from abtest.terminal import encoding_of, put, put_json
from reports.results import ExperimentResult

RunPath = Annotated[Path, typer.Argument(help="A run directory.", autocompletion=completion.runs)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("report")(report)
    app.command("compare")(compare)


def _load(path: Path) -> ExperimentResult:
    from abtest.run.run_directory import RunDirectory

    return RunDirectory.open(path).results()


class Format(enum.StrEnum):
    """What `abtest report` writes."""

    TABLE = "table"
    HTML = "html"
    MARKDOWN = "md"
    CSV = "csv"
    JSON = "json"


ReportFormat = Annotated[
    Format,
    typer.Option(
        "--format",
        help="table; html (report.html is written anew); md for a pull request; csv; json.",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Write to this file, not to standard output.")
]


def report(
    run: RunPath,
    chosen: ReportFormat = Format.TABLE,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """Show a finished run again, and write its report.html anew.

    [bold]Examples[/bold]

      abtest report runs/lsvcr-vs-sasrec

      abtest report runs/lsvcr-vs-sasrec --format md

      abtest report runs/lsvcr-vs-sasrec --format csv --out metrics.csv
    """
    from abtest.plugins import sections
    from reports.render.download import to_csv
    from reports.render.html import render_html, write_html
    from reports.render.markdown import render_markdown

    result = _load(run)
    added, skipped = sections(result)
    for warning in skipped:
        Console().warn(warning)
    chosen = Format.JSON if as_json else chosen
    page = run / "report.html"
    if chosen is not Format.HTML or out is None:
        try:
            write_html(result, page, added)
        except OSError as error:
            if chosen is Format.HTML:
                raise
            Console().warn(f"{page} is not written anew: {error.strerror}")
    if chosen is Format.HTML and out is None:
        put(f"Report: {page}")
        return
    if chosen is Format.TABLE:
        written = _table(result, page)
    elif chosen is Format.HTML:
        written = render_html(result, added)
    elif chosen is Format.MARKDOWN:
        written = render_markdown(result, added)
    else:
        written = to_csv(result) if chosen is Format.CSV else result.to_json()
    if chosen is Format.JSON and out is None:
        put_json(written)
    else:
        _put(written, out)
    failed = any(check.status == "fail" for check in result.health)
    if chosen is Format.TABLE and failed:
        raise typer.Exit(int(ExitCode.UNTRUSTWORTHY))


def _table(result: ExperimentResult, page: Path) -> str:
    from reports.render.terminal import render

    shown = render(result, width=None, encoding=encoding_of(), color=colored(sys.stdout))
    return f"{shown}\n\nReport: {page}\n"


def _put(text: str, out: Path | None) -> None:
    if out is None:
        put(text, nl=False)
        return
    _write(text, out, "--out")
    put(f"Written: {out}")


def _write(text: str, path: Path, flag: str) -> None:
    from reports.render.page import write_page

    try:
        write_page(text, path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}.", f"Choose another {flag}"
        ) from None


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Two or more run directories.", autocompletion=completion.runs),
    ],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with a forest per metric.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Put several runs side by side.

    [bold]Examples[/bold]

      abtest compare runs/lsvcr-vs-sasrec runs/lsvcr-vs-sasrec-2

      abtest compare runs/a runs/b runs/c --html compared.html
    """
    from reports.render.comparison import render_comparison
    from reports.render.comparison_page import comparison_json, render_comparison_html

    if len(runs) < 2:
        raise UsageError("compare needs two runs.", "Example: abtest compare runs/a runs/b")
    loaded = [(str(path), _load(path)) for path in runs]
    if as_json:
        put_json(comparison_json(loaded))
    else:
        put(render_comparison(loaded, encoding=encoding_of()))
    if html is not None:
        words = ["abtest", "compare", *map(str, runs), "--html", str(html)]
        page = render_comparison_html(loaded, command=shlex.join(words))
        _write(page, html, "--html")
        put(f"\nPage: {html}", err=as_json)
