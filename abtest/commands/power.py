"""Parse the options of `abtest power` and `abtest aa`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from abtest.commands import completion, options
from abtest.config_sources import LARGEST_NUMBER, parse_percent
from abtest.console import Console
from abtest.errors import ExitCode, UsageError
from abtest.terminal import put, put_json

if TYPE_CHECKING:
    from abtest.experiment_tables.request import ObservedOptions
    from abtest.power.known import Known, Unknown
    from abtest.power.planning import Asked
    from abtest.power.sources import Source

Where = Annotated[
    str | None,
    typer.Argument(help="A run directory, a Parquet or CSV table, a dataset directory, or 'demo'."),
]
MetricNames = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        "-m",
        help="A metric, a column, or NAME=COLUMN/COLUMN; the first decides. Repeatable.",
    ),
]
MetricFile = Annotated[
    Path | None, typer.Option("--metrics", help="A TOML file that defines metrics (tables).")
]
UserColumn = Annotated[str, typer.Option("--user", help="Column of the user id (tables).")]
ArmColumn = Annotated[str | None, typer.Option("--arm", help="Column of the arm (tables).")]
DayColumn = Annotated[str | None, typer.Option("--day", help="Column of the day (tables).")]
Start = Annotated[
    str | None,
    typer.Option("--start", help="First day; what is earlier is the time before (tables)."),
]
Absent = Annotated[
    str, typer.Option("--absent", help="A day without a row of a user, as in analyze (tables).")
]
Joined = Annotated[
    str | None, typer.Option("--joined", help="Column of the day of joining (tables).")
]
Covariates = Annotated[
    list[str] | None,
    typer.Option("--covariate", help="Column from before the experiment (tables). Repeatable."),
]
ControlArm = Annotated[
    str | None, typer.Option("--control", "-c", help="Arm whose users are taken.")
]
Alpha = Annotated[str, typer.Option("--alpha", help="Error rate of a two-sided test.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("power")(power)
    app.command("aa")(aa)


def aa(
    source: Where = "demo",
    metric: MetricNames = None,
    replicates: Annotated[
        int, typer.Option("--replicates", min=1, max=1_000_000, help="Random splits.")
    ] = 1_000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the splits.")] = 1,
    split: Annotated[
        str, typer.Option("--split", help="Share of users in the second arm.")
    ] = "0.5",
    alpha: Alpha = "5%",
    control: ControlArm = None,
    metrics: MetricFile = None,
    user: UserColumn = "user_id",
    arm: ArmColumn = None,
    day: DayColumn = None,
    start: Start = None,
    absent: Absent = "error",
    joined: Joined = None,
    covariate: Covariates = None,
    encoding: options.Encoding = None,
    delimiter: options.Delimiter = None,
    decimal: options.Decimal = None,
    bad_rows: options.BadRows = "fail",
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="Last days of a log that are analysed.")
    ] = None,
    engine: options.Engine = "local",
    address: options.Address = None,
    html: options.Html = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Split users who were all treated alike at random, again and again: every alarm is false.

    [bold]Examples[/bold]

      abtest aa runs/lsvcr-vs-sasrec

      abtest aa demo --replicates 2000

      abtest aa orders.csv --user buyer --metric revenue --metric revenue/visits
    """
    from abtest.power.page import aa_page
    from abtest.power.sources import open_source
    from abtest.power.spread import Split, spread_splits
    from abtest.power.tables import aa_table
    from abtest.run.machines import Machines
    from reports.analysis.calibration import calibrate, scored, varying
    from reports.plan import AnalysisPlan

    share, level = _fraction("--split", split), _fraction("--alpha", alpha)
    console, machines = Console(quiet=quiet), Machines(engine, address=address)
    machines.check()
    table = _table_options(
        metric=metric, metrics=metrics, control=control, user=user, arm=arm, day=day, start=start,
        absent=absent, joined=joined, covariate=covariate, encoding=encoding, delimiter=delimiter,
        decimal=decimal, bad_rows=bad_rows, absolute=None,
    )  # fmt: skip
    found = open_source(source or "demo", options=table, days=days, console=console)
    columns = {m.name: found.columns(m) for m in found.metrics}
    chosen = varying(columns, found.metrics)
    silent = [m.name for m in found.metrics if m not in chosen]
    if not chosen:
        raise UsageError(f"no metric of {found.name} differs between users: {', '.join(silent)}.")
    for name in silent:
        console.warn(f"'{name}' is the same for all {found.users:,} users; left out")
    plan = AnalysisPlan(metrics={m.name: m for m in chosen})
    by_score = scored({m.name: columns[m.name] for m in chosen}, plan)
    dealt = Split({m.name: columns[m.name] for m in chosen}, chosen, seed, share, by_score)
    report = calibrate(
        columns, chosen, replicates=replicates, seed=seed, share=share, alpha=level,
        by_score=by_score, p_values=spread_splits(dealt, replicates, machines, console),
    )  # fmt: skip
    if html is not None:
        options.put_page(aa_page(report, found.name, options.command_line()), html, console)
    if as_json:
        document = {"source": found.name, "left_out": silent, **report.to_dict()}
        put_json(document)
    else:
        put(aa_table(report, found.name))
    if any(m.found.word == "too many false alarms" for m in report.metrics):
        raise typer.Exit(int(ExitCode.UNTRUSTWORTHY))


def power(
    source: Where = None,
    mde: Annotated[
        str | None,
        typer.Option("--mde", help="Effect to find: 1%, or 0.5 in the unit of an absolute metric."),
    ] = None,
    users: Annotated[int | None, typer.Option("--users", min=2, help="Users in all arms.")] = None,
    target: Annotated[str, typer.Option("--power", help="Wanted chance to find it.")] = "80%",
    alpha: Alpha = "5%",
    margin: Annotated[
        str | None,
        typer.Option("--margin", help="Prove non-inferiority: harm below this, as 1%."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="Share of each treatment (0.1), of every arm (0.8,0.1,0.1), or best."
        ),
    ] = None,
    treatments: Annotated[
        int | None,
        typer.Option(
            "--treatments", min=1, max=100, help="Number of treatments; a run's own, or 1."
        ),
    ] = None,
    correct: Annotated[
        str,
        typer.Option(
            "--correct", help="Over treatments, (secondary) metrics, both or none, as in analyze."
        ),
    ] = "both",
    design: Annotated[
        str,
        typer.Option("--design", help="online or twin.", autocompletion=completion.designs),
    ] = "online",
    metric: MetricNames = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="Days of the planned experiment.")
    ] = None,
    mean: Annotated[float | None, typer.Option("--mean", help="Of a metric, without data.")] = None,
    sd: Annotated[
        float | None, typer.Option("--sd", help="Standard deviation over users, with --mean.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Share of users, without data, as 4% or 0.04.")
    ] = None,
    variance_removed: Annotated[
        str, typer.Option("--variance-removed", help="By covariates, with --mean, as 30%.")
    ] = "0%",
    correlation: Annotated[
        float | None,
        typer.Option("--correlation", help="Between a user's two arms (--design twin)."),
    ] = None,
    control: ControlArm = None,
    metrics: MetricFile = None,
    absolute: Annotated[
        list[str] | None,
        typer.Option("--absolute", help="Effects of this metric are differences. Repeatable."),
    ] = None,
    user: UserColumn = "user_id",
    arm: ArmColumn = None,
    day: DayColumn = None,
    start: Start = None,
    absent: Absent = "error",
    joined: Joined = None,
    covariate: Covariates = None,
    encoding: options.Encoding = None,
    delimiter: options.Delimiter = None,
    decimal: options.Decimal = None,
    bad_rows: options.BadRows = "fail",
    html: options.Html = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """How many users an experiment needs, what it can detect, or its power.

    Give --mde for the users needed, --users for the detectable effect, both for the power; neither
    takes the users of the run or table. The
    variance comes from a run or table of yours, or from --mean and --sd, or from --rate.

    [bold]Examples[/bold]

      abtest power runs/lsvcr-vs-sasrec --mde 1%

      abtest power orders.csv --user buyer --metric revenue --users 20000 --split 0.1

      abtest power --rate 4% --mde 5% --treatments 3 --split best

      abtest power --mean 550 --sd 900 --users 50000 --mde 2%
    """
    from abtest.power.known import known_of_source
    from abtest.power.page import power_page
    from abtest.power.planning import Asked, answers, parse_correct, parse_shares
    from abtest.power.sources import open_source
    from abtest.power.tables import power_table

    if design not in ("online", "twin"):
        raise UsageError(f"--design is '{design}', expected online or twin.")
    asked = Asked(
        effect=None if mde is None else parse_percent(mde),
        users=users,
        margin=None if margin is None else abs(parse_percent(margin)),
        power=_fraction("--power", target),
        alpha=_fraction("--alpha", alpha),
        shares=parse_shares(split, treatments or 1),
        correct=parse_correct(correct),
        paired=design == "twin",
        effect_is_share=mde is None or "%" in mde,
        margin_is_share=margin is None or "%" in margin,
    )
    given = [
        flag
        for flag, value in (("--mean", mean), ("--sd", sd), ("--rate", rate))
        if value is not None
    ]
    if source is not None and given:
        raise UsageError(f"{given[0]} and {source} both say what the variance is; give one.")
    nothing_asked = users is None and mde is None and margin is None
    if source is None and nothing_asked:
        raise UsageError(
            "say the effect to find or the users to have.", "Give --mde 1% or --users 20000"
        )
    console = Console(quiet=quiet)
    known: list[Known | Unknown]
    if source is None:
        if days is not None:
            raise UsageError(
                "--days needs the scatter between a user's days.", "Give a run or a table"
            )
        known = [_known_of_numbers(mean, sd, rate, variance_removed, correlation, asked)]
        name = "the numbers given"
    else:
        table = _table_options(
            metric=metric, metrics=metrics, control=control, user=user, arm=arm, day=day,
            start=start, absent=absent, joined=joined, covariate=covariate, encoding=encoding,
            delimiter=delimiter, decimal=decimal, bad_rows=bad_rows, absolute=absolute,
        )  # fmt: skip
        opened = open_source(source, options=table, days=None, console=console)
        if treatments is None and opened.against:
            asked = dataclasses.replace(asked, shares=parse_shares(split, len(opened.against)))
        if nothing_asked:
            asked = dataclasses.replace(asked, users=opened.people)
        if nothing_asked and opened.against and split is None and treatments is None:
            # The run's own test: its arms as they are.
            asked = dataclasses.replace(asked, shares=opened.shares)
        known = known_of_source(opened, days=days, paired=asked.paired)
        name = f"{opened.name}: {_users_words(opened)}, " + _days_words(opened, days)
    rows = answers(known, asked)
    if html is not None:
        options.put_page(power_page(rows, asked, name, options.command_line()), html, console)
    if as_json:
        document = {
            "source": name,
            "question": asked.question,
            "alpha": asked.alpha,
            "power": asked.power,
            "shares": list(asked.shares),
            "design": design,
            "corrected": correct,
            "metrics": [row.to_dict() for row in rows],
        }
        put_json(document)
    else:
        put(power_table(rows, asked, name))


def _table_options(
    *,
    metric: list[str] | None,
    covariate: list[str] | None,
    absolute: list[str] | None,
    metrics: Path | None,
    **given: Any,
) -> ObservedOptions:
    """How to read a table: the options of `abtest analyze`."""
    from abtest.experiment_tables.request import ObservedOptions

    return ObservedOptions(
        (),
        metrics=tuple(metric or ()),
        metrics_file=metrics,
        covariates=tuple(covariate or ()),
        absolute=tuple(absolute or ()),
        **given,
    )


def _known_of_numbers(
    mean: float | None,
    sd: float | None,
    rate: str | None,
    variance_removed: str,
    correlation: float | None,
    asked: Asked,
) -> Known:
    from abtest.power.known import Known
    from reports.statistics.power import Baseline

    if rate is not None:
        if mean is not None or sd is not None:
            raise UsageError("--rate already says the variance; leave --mean and --sd out.")
        return Known("rate", "%", 100.0, "up", Baseline.proportion(parse_percent(rate)))
    if mean is None or sd is None:
        raise UsageError(
            "power needs to know how much users differ.",
            "Give a run or table, or --mean and --sd, or --rate",
        )
    if not 1.0 / LARGEST_NUMBER <= abs(mean) <= LARGEST_NUMBER or not 0.0 < sd <= LARGEST_NUMBER:
        raise UsageError(
            f"--mean is {mean:g} and --sd {sd:g}: effects are relative to a mean that is not "
            f"zero, of users who differ; numbers up to {LARGEST_NUMBER:g}."
        )
    removed = parse_percent(variance_removed)
    if not 0.0 <= removed < 1.0:
        raise UsageError(f"--variance-removed is {variance_removed}, expected 0 to below 100 %.")
    variance = sd**2 * (1.0 - removed)
    if asked.paired:
        if correlation is None or not -1.0 <= correlation < 1.0:
            raise UsageError(
                "a twin design needs how alike a user's two arms are.",
                "Give --correlation, from -1 to below 1",
            )
        variance *= 2.0 * (1.0 - correlation)
    baseline = Baseline(mean, variance)
    return Known("mean", "", 1.0, "up", baseline, removed if removed else None)


def _users_words(opened: Source) -> str:
    """How many users there are in the arms that were looked at."""
    arms = (opened.arm, *opened.against)
    return f"{' and '.join(f'{opened.table.size(arm):,}' for arm in arms)} users"


def _days_words(opened: Source, days: int | None) -> str:
    have = opened.table.days
    words = f"{have} day{'s' if have > 1 else ''}"
    return words if days in (None, have) else f"{words}, planned for {days}"


def _fraction(flag: str, text: str) -> float:
    value = parse_percent(text)
    if not 0.0 < value < 1.0:
        raise UsageError(f"{flag} is {text}, expected a share between 0 and 100 %.")
    return value
