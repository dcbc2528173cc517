"""Parse the options of `abtest data import|export|check|describe|fidelity|synth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from abtest.commands import completion, options
from abtest.console import Console
from abtest.errors import RunDataError, UsageError
from abtest.files import can_hold, existing_parent
from abtest.terminal import put, put_json
from simulator.tables import BadRows

app = typer.Typer(no_args_is_help=True, help="Import, export, check, describe and make datasets.")

Sources = Annotated[
    list[Path], typer.Argument(help="Log files, or directories of them, and where to write.")
]
Target = Annotated[Path, typer.Argument(help="Dataset directory to create.")]
DatasetPath = Annotated[str, typer.Argument(help="A dataset directory, or 'demo'.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="data")


@app.command("import")
def import_command(
    sources: Sources,
    log_format: Annotated[
        str, typer.Option("--format", help="auto, or a format: see docs/import.md.")
    ] = "auto",
    map_file: Annotated[
        Path | None,
        typer.Option("--map", help="TOML file that maps columns of any table; see data map."),
    ] = None,
    sql: Annotated[
        str | None,
        typer.Option("--sql", help="With --map: a query for DuckDB, one more table to read."),
    ] = None,
    encoding: options.Encoding = None,
    decimal: options.Decimal = None,
    propensities: Annotated[
        str | None,
        typer.Option(
            "--propensities",
            help="Columns of a table of logged choices: action=COL,reward=COL,propensity=COL and "
            "user, time, position, target.",
        ),
    ] = None,
    bad_rows: options.BadRows = "fail",
    force: options.Force = False,
) -> None:
    """Turn log files into a dataset directory: abtest data import FILES... DATASET.

    [bold]Examples[/bold]

      abtest data import KuaiRand-Pure/data logs/kuairand

      abtest data import log_standard_4_08_to_4_21_1k.csv logs/one-file --bad-rows skip

      abtest data import events.parquet logs/mine --map map.toml

      abtest data import obd/random/men/men.csv logs/men --format open-bandit

      abtest data import choices.csv logs/mine --propensities action=item,reward=click,propensity=p
    """
    from abtest.tables import needs_table
    from simulator.logs.checks.needs import needs
    from simulator.logs.dataset import Dataset
    from simulator.logs.importers import import_logs, import_mapped

    if sql is not None and map_file is None:
        raise UsageError("--sql needs a map of the result's columns.", "Add: --map MAP.toml")
    if propensities is not None and (map_file is not None or sql is not None):
        raise UsageError("--propensities and --map exclude each other.")
    if map_file is not None and log_format != "auto":
        raise UsageError("--map and --format exclude each other.")
    if len(sources) < (1 if sql is not None else 2):
        raise UsageError(
            "files and a directory to write are needed.", f"abtest data import {sources[0]} DATASET"
        )
    *files, target = sources
    if bad_rows not in {"fail", "skip"}:
        raise UsageError(f"--bad-rows is '{bad_rows}', expected fail or skip.")
    _check_target(target)
    from abtest.plugins import importers
    from simulator.logs.importers import bandit

    console = Console()
    further, skipped = importers()
    for warning in skipped:
        console.warn(warning)
    bad: BadRows = "skip" if bad_rows == "skip" else "fail"
    title = f"importing {', '.join(map(str, files)) or 'the query'}"
    with console.stage("import", title) as stage:
        if propensities is not None or log_format == bandit.FORMAT:
            names = None if propensities is None else bandit.parse_columns(propensities)
            report = bandit.import_bandit(
                files,
                target,
                names,
                bad_rows=bad,
                encoding=encoding,
                decimal=decimal,
                overwrite=force,
                report=stage.report,
            )
        elif map_file is not None:
            report = import_mapped(
                files,
                target,
                map_file,
                sql=sql,
                bad_rows=bad,
                encoding=encoding,
                decimal=decimal,
                overwrite=force,
                report=stage.report,
            )
        else:
            report = import_logs(
                files,
                target,
                format=log_format,
                bad_rows=bad,
                encoding=encoding,
                decimal=decimal,
                overwrite=force,
                report=stage.report,
                further=further,
            )
    put(report.render())
    uses = needs(Dataset.open(target))
    put(f"\n{needs_table(uses)}")
    put(f"\nDataset: {target}\nNext:    abtest data describe {target} --against kuaishou")
    possible = {need.command for need in uses if need.possible}
    if {"abtest run --data -t lsvcr", "abtest run --data: comment watch time"} <= possible:
        put(f"         abtest run --data {target} -t lsvcr -c sasrec --design twin")
    elif "abtest run --data: videos" in possible:
        # Sequence models learn from likes unless they are told otherwise.
        liked = any(n.command == "abtest evaluate: videos" and not n.remark for n in uses)
        arms = "-t sasrec -c popular" if liked else "-t popular -c random"
        put(f"         abtest run --data {target} {arms} --primary play_time")
    elif "abtest replay: videos" in possible:
        put(f"         abtest replay --data {target} -t popular -c random")


def _check_target(target: Path) -> None:
    """Refuse a place that nothing can be written to, before any work is done."""
    parent = existing_parent(target)
    if not can_hold(parent):
        raise UsageError(f"cannot write to {parent}.", "Choose another directory")


@app.command("map")
def map_command(
    files: Annotated[list[Path], typer.Argument(help="Files of any table.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write it here instead of printing it.")
    ] = None,
    encoding: options.Encoding = None,
    decimal: options.Decimal = None,
) -> None:
    """Propose a map for data import, from names and values of columns.

    [bold]Examples[/bold]

      abtest data map events.parquet

      abtest data map ratings.csv films.csv --out map.toml
    """
    from simulator.logs.importers.guess import propose

    text = propose(files, encoding=encoding, decimal=decimal)
    if out is None:
        put(text, nl=False)
        return
    if out.exists():
        raise UsageError(f"{out} exists and is left untouched.", "Choose another name")
    out.write_text(text, encoding="utf-8")
    listed = " ".join(map(str, files))
    put(f"Map:  {out}\nNext: abtest data import {listed} DATASET --map {out}")


@app.command()
def export(
    dataset: DatasetPath,
    target: Annotated[Path, typer.Argument(help="Directory to create.")],
    log_format: Annotated[str, typer.Option("--format", help="kuairand or kuaicomt.")],
) -> None:
    """Write a dataset as KuaiRand's or KuaiComt's own CSV files.

    [bold]Example[/bold]

      abtest data export demo kuairand-files --format kuairand
    """
    from abtest.run.datasets import open_dataset
    from simulator.logs.exporters import export_logs

    if log_format not in {"kuairand", "kuaicomt"}:
        raise UsageError(f"--format is '{log_format}', expected kuairand or kuaicomt.")
    console = Console()
    _check_target(target)
    opened = open_dataset(dataset, console)
    with console.stage("export", f"exporting {opened.path}") as stage:
        report = export_logs(
            opened,
            target,
            format=log_format,  # type: ignore[arg-type]
            progress=stage.report,
        )
    put(report.render())
    put(f"\nFiles: {target}\nBack:  abtest data import {target} DATASET")


@app.command()
def check(dataset: DatasetPath, as_json: options.Json = False) -> None:
    """Validate a dataset, and say which commands it is good for.

    [bold]Example[/bold]

      abtest data check logs/kuairand
    """
    from abtest.run.datasets import open_dataset
    from abtest.tables import needs_table, wrapped
    from simulator.logs.checks.needs import needs
    from simulator.logs.checks.validate import check as check_dataset

    console = Console()
    opened = open_dataset(dataset, console, sound=False)
    with console.stage("check", f"checking {opened.path}") as stage:
        findings = check_dataset(opened, stage.report)
    possible = needs(opened)
    errors = [f for f in findings if f.severity == "error"]
    if as_json:
        rows = [
            {
                "severity": f.severity,
                "table": f.table,
                "column": f.column,
                "row": f.row,
                "message": f.message,
                "hint": f.hint,
            }
            for f in findings
        ]
        listed = [
            {"command": n.command, "possible": n.possible, "why_not": n.why_not, "remark": n.remark}
            for n in possible
        ]
        put_json({"findings": rows, "commands": listed})
    elif not findings:
        counts = ", ".join(f"{n:,} {t}" for t, n in opened.info.rows.items())
        put("\n".join(wrapped(f"{opened.path}: no problem found in {counts}")))
    else:
        for finding in findings:
            put(f"{finding.severity}: {finding.message} {finding.hint}".rstrip())
    if not as_json:
        put(f"\n{needs_table(possible)}")
    if errors:
        count = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
        raise RunDataError(
            f"{opened.path} has {count}, listed above.",
            f"Mend the data, then check again: abtest data check {dataset}",
        )


@app.command()
def describe(
    dataset: DatasetPath,
    against: Annotated[
        str | None, typer.Option("--against", help="Compare with published figures: kuaishou.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Statistics of a dataset, beside Kuaishou's published ones if asked.

    [bold]Example[/bold]

      abtest data describe demo --against kuaishou
    """
    from abtest.run.datasets import open_dataset
    from abtest.tables import comparison_rows, comparison_table, statistics_table
    from simulator.logs.describe import compare, memory_to_describe
    from simulator.logs.describe import describe as describe_dataset
    from simulator.memory import require_room

    console = Console()
    opened = open_dataset(dataset, console, sound=False)
    require_room(
        memory_to_describe(opened),
        f"describing {opened.info.rows.get('impressions', 0):,} impressions",
        "Import a part of the log's files, and describe that",
    )
    title = f"describing {opened.path}"
    if against is None:
        with console.stage("describe", title) as stage:
            statistics = describe_dataset(opened, stage.report)
        if as_json:
            rows = [
                {"name": s.name, "label": s.label, "value": s.value, "unit": s.unit}
                for s in statistics
            ]
            put_json({"statistics": rows})
        else:
            put(statistics_table(statistics))
        return
    if against != "kuaishou":
        raise UsageError(f"--against knows 'kuaishou', not '{against}'.")
    with console.stage("describe", title) as stage:
        comparisons = compare(opened, against, stage.report)
    if as_json:
        put_json({"comparisons": comparison_rows(comparisons)})
    else:
        put(comparison_table(comparisons))


@app.command()
def fidelity(
    dataset: DatasetPath,
    seed: Annotated[
        int, typer.Option("--training-seed", min=0, help="Seed of the response model.")
    ] = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn how people of a log respond, as run --data does, and say whether to believe it.

    A classifier is asked to tell simulated sessions from those of the log (two-sample test).

    [bold]Example[/bold]

      abtest data fidelity logs/kuairand
    """
    from abtest.results.learned_people import learned_people
    from abtest.run.datasets import open_dataset
    from abtest.run.fidelity import fit_response, quality_of

    console = Console(quiet=quiet)
    model = fit_response(open_dataset(dataset, console), seed=seed, console=console)
    quality = quality_of(model)
    if as_json:
        put_json(quality)
    else:
        put(learned_people(quality))


@app.command()
def synth(
    target: Target,
    world: Annotated[
        str,
        typer.Option(
            "--world", help="Preset of the built-in world.", autocompletion=completion.worlds
        ),
    ] = "default",
    language: Annotated[
        str | None,
        typer.Option(
            "--language",
            help="Of the texts: zh (default) or en.",
            autocompletion=completion.choices("zh", "en"),
        ),
    ] = None,
    users: Annotated[int, typer.Option("--users", min=1, help="People in the log.")] = 4_000,
    days: Annotated[int, typer.Option("--days", min=1, help="Days in the log.")] = 2,
    seed: Annotated[int, typer.Option("--seed", help="Which world.")] = 1,
    force: options.Force = False,
) -> None:
    """Write the built-in world's log as a dataset directory.

    [bold]Examples[/bold]

      abtest data synth demo

      abtest data synth logs/small --world small --users 1500

      abtest data synth logs/english --world small --language en
    """
    from abtest.run.datasets import synthesise
    from simulator.world import World

    _check_target(target)
    synthesise(
        target,
        preset=world,
        seed=seed,
        users=users,
        days=days,
        console=Console(),
        overwrite=force,
        world=World.create(world, seed, language),
    )
    put(f"Dataset: {target}\nNext:    abtest data describe {target} --against kuaishou")
