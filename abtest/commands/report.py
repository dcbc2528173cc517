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
from abtest.errors import ExitCode, RunDataError, UsageError
from abtest.terminal import encoding_of, put, put_json
from reports.results import ExperimentResult

RunPath = Annotated[Path, typer.Argument(help="A run directory.", autocompletion=completion.runs)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("report")(report)
    app.command("compare")(compare)


def _load(path: Path) -> ExperimentResult:
    from abtest.run.run_directory import RunDirectory, how_to_go_on
    from reports.results import ExperimentResult, ResultFormatError

    RunDirectory.open(path)
    file = path / "results.json"
    if not file.is_file():
        raise RunDataError(f"{path} has no results yet.", how_to_go_on(path))
    try:
        return ExperimentResult.from_json(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise RunDataError(f"{file} is damaged: it is not UTF-8.", how_to_go_on(path)) from None
    except ResultFormatError as error:
        said = str(error).removeprefix("results.json ")
        raise RunDataError(f"{file} {said}", how_to_go_on(path)) from None


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
        write_html(result, page, added)
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
    try:
        out.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}.", "Choose another --out") from None
    put(f"Written: {out}")


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
        try:
            html.write_text(page, encoding="utf-8", newline="\n")
        except OSError as error:
            hint = "Choose another --html"
            raise UsageError(f"cannot write {html}: {error.strerror}.", hint) from None
        put(f"\nPage: {html}", err=as_json)
