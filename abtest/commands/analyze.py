"""Parse the options of `abtest analyze`."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abtest.commands import options
from abtest.console import Console, colored
from abtest.errors import ExitCode
from abtest.terminal import encoding_of, put, put_json

if TYPE_CHECKING:
    from abtest.experiment_tables.request import ObservedOptions


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("analyze")(analyze)


def analyze(
    table: Annotated[
        list[Path],
        typer.Argument(help="Rows of users: CSV (packed or not) or Parquet; files or directories."),
    ],
    user: Annotated[str, typer.Option("--user", help="Column of the user.")] = "user_id",
    arm: Annotated[str, typer.Option("--arm", help="Column of the arm.")] = "arm",
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="COLUMN, or NAME=COLUMN/COLUMN. Repeatable."),
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option("--metrics", help="A TOML file that defines metrics.")
    ] = None,
    control: Annotated[
        str | None, typer.Option("--control", "-c", help="The control arm; default: 'control'.")
    ] = None,
    covariate: Annotated[
        list[str] | None,
        typer.Option(
            "--covariate",
            help="A column from before the experiment; COLUMN:mean (first, last, sum, min, max) "
            "if users have several values. Repeatable.",
        ),
    ] = None,
    strata: Annotated[
        list[str] | None,
        typer.Option("--strata", help="Hold the shares of this column equal. Repeatable."),
    ] = None,
    segment: Annotated[
        list[str] | None,
        typer.Option("--segment", help="Also analyse each value of this column. Repeatable."),
    ] = None,
    day: Annotated[str | None, typer.Option("--day", help="Column of the day.")] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="First day; what is earlier is the time before.")
    ] = None,
    absent: Annotated[
        str,
        typer.Option("--absent", help="A day without a row of a user: error, zero or not-at-risk."),
    ] = "error",
    joined: Annotated[
        str | None, typer.Option("--joined", help="Column of the day on which the user joined.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Planned, as control=90,treatment=10.")
    ] = None,
    primary: Annotated[
        str | None, typer.Option("--primary", help="The metric that decides; default: the first.")
    ] = None,
    guardrail: Annotated[
        list[str] | None,
        typer.Option("--guardrail", help="METRIC=-1%; METRIC=+1% if less is better. Repeatable."),
    ] = None,
    absolute: Annotated[
        list[str] | None,
        typer.Option(
            "--absolute", help="Effects of this metric are differences, not lifts. Repeatable."
        ),
    ] = None,
    min_effect: Annotated[
        str,
        typer.Option(
            "--min-effect", help="Smallest effect worth shipping: 0.5%, or 2 in an absolute unit."
        ),
    ] = "0%",
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", help="What shipping takes, as effect=interval. Repeatable."),
    ] = None,
    confidence: Annotated[
        str, typer.Option("--confidence", help="Of intervals before correction.")
    ] = "95%",
    rates: Annotated[
        str,
        typer.Option(
            "--rates", help="0/1 metrics: auto (score test for rare events), score, pooled, welch."
        ),
    ] = "auto",
    correct: Annotated[
        str, typer.Option("--correct", help="Over treatments, metrics, both or none.")
    ] = "both",
    correction: Annotated[
        str, typer.Option("--correction", help="holm, or bh (false discovery rate).")
    ] = "holm",
    slopes: Annotated[
        str, typer.Option("--slopes", help="Of the covariates: common or by-arm.")
    ] = "common",
    ratio_covariate: Annotated[
        str,
        typer.Option(
            "--ratio-covariate",
            help="Of a ratio, from before: parts (a slope each), or linear (one slope).",
        ),
    ] = "parts",
    encoding: options.Encoding = None,
    delimiter: options.Delimiter = None,
    decimal: options.Decimal = None,
    bad_rows: options.BadRows = "fail",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Directory to create.")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Analyse the outcomes of a real experiment.

    One row per user, or several that are added up. Columns named pre_X are what X was before the
    experiment; they reduce the noise.

    [bold]Examples[/bold]

      abtest analyze users.parquet --metric revenue --metric "ctr=clicks/impressions"

      abtest analyze users.csv --user id --arm group --control A --metrics metrics.toml

      abtest analyze days.parquet --day date --start 2026-11-02 --metric minutes
    """
    # Imported here so that `abtest --help` stays quick.
    from abtest.analyze import analyze_observed
    from abtest.experiment_tables.request import ObservedOptions
    from abtest.results.conclusion import conclude
    from reports.render.terminal import render

    asked = ObservedOptions(
        table=tuple(table),
        user=user,
        arm=arm,
        metrics=tuple(metric or ()),
        metrics_file=metrics,
        control=control,
        covariates=tuple(covariate or ()),
        strata=tuple(strata or ()),
        segments=tuple(segment or ()),
        day=day,
        start=start,
        absent=absent,
        joined=joined,
        split=split,
        primary=primary,
        guardrails=tuple(guardrail or ()),
        absolute=tuple(absolute or ()),
        min_effect=min_effect,
        rule=tuple(rule or ()),
        confidence=confidence,
        rates=rates,
        correct=correct,
        correction=correction,
        slopes=slopes,
        ratio_covariate=ratio_covariate,
        encoding=encoding,
        delimiter=delimiter,
        decimal=decimal,
        bad_rows=bad_rows,
    )
    result, directory = analyze_observed(
        asked, out=out, command=_command(asked), console=Console(quiet=quiet)
    )
    if json:
        put_json(result.to_json())
    else:
        put(render(result, width=None, encoding=encoding_of(), color=colored(sys.stdout)))
        put(f"\nReport: {directory / 'report.html'}")
    code = conclude(result, ())
    if code is not ExitCode.COMPLETE:
        raise typer.Exit(int(code))


def _command(asked: ObservedOptions) -> str:
    """The command that does the same again."""
    names = {"metrics": "metric", "metrics_file": "metrics", "covariates": "covariate"}
    names |= {"segments": "segment", "guardrails": "guardrail"}
    words = ["abtest", "analyze", *map(str, asked.table)]
    for field in dataclasses.fields(asked)[1:]:
        value = getattr(asked, field.name)
        if value == field.default and field.name not in ("user", "arm"):
            continue
        flag = f"--{names.get(field.name, field.name).replace('_', '-')}"
        for one in value if isinstance(value, tuple) else (value,):
            words += [flag, str(one)]
    return shlex.join(words)
