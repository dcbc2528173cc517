"""Parse the options of `abtest run` and `abtest demo`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from abtest.commands import completion, options
from abtest.config import RunConfig
from abtest.config_sources import load_config, parse_percent
from abtest.console import Console, colored
from abtest.errors import ExitCode, UsageError
from abtest.terminal import encoding_of, put, put_json

FAIL_CONDITIONS = ("srm", "guardrail", "worse", "not-clear", "warning")


Treatment = Annotated[
    list[str] | None,
    typer.Option(
        "--treatment",
        "-t",
        help="Policy to test: a name, file.py:Class, or A+B (A's videos, B's comments). "
        "Repeatable.",
        autocompletion=completion.policies,
    ),
]
Control = Annotated[
    str | None,
    typer.Option("--control", "-c", help="Policy in force.", autocompletion=completion.policies),
]
Candidates = Annotated[
    str | None,
    typer.Option(
        "--candidates",
        help="Policy that proposes what all arms rank, as two-tower.",
        autocompletion=completion.policies,
    ),
]
World = Annotated[
    str | None,
    typer.Option("--world", help="Preset of the built-in world.", autocompletion=completion.worlds),
]
Language = Annotated[
    str | None,
    typer.Option(
        "--language",
        help="Of the built-in world's texts: zh (default) or en.",
        autocompletion=completion.choices("zh", "en"),
    ),
]
Design = Annotated[
    str | None,
    typer.Option(
        "--design",
        help="online (default), or twin: everyone lives through both arms.",
        autocompletion=completion.designs,
    ),
]
Users = Annotated[
    int | None, typer.Option("--users", help="People; default: sized by power analysis.")
]
MaxUsers = Annotated[int | None, typer.Option("--max-users", help="Limit for automatic sizing.")]
Days = Annotated[int | None, typer.Option("--days", help="Experiment days.")]
BurnIn = Annotated[
    int | None,
    typer.Option("--burn-in-days", help="Days before the experiment (built-in world)."),
]
SampleUsers = Annotated[
    int | None,
    typer.Option("--sample-users", help="With --data: draw so many people; nobody else is read."),
]
LogUsers = Annotated[
    int | None,
    typer.Option("--log-users", help="People in the log for training (built-in world)."),
]
ExploreShare = Annotated[
    str | None,
    typer.Option("--explore-share", help="Share of slots filled at random in all arms, as 2%."),
]
ExploreComments = Annotated[
    str | None,
    typer.Option("--explore-comments", help="Share of comment ranks filled at random, as 5%."),
]
KeepLog = Annotated[
    bool, typer.Option("--keep-log", help="Keep the log of the experiment, with propensities.")
]
Assume = Annotated[
    list[str] | None,
    typer.Option(
        "--assume",
        help="NAME=VALUE,VALUE: also run the twin in worlds with another value of this parameter, "
        "with the policies as trained; 'uncertain': the five that nothing published tells. "
        "Repeatable (built-in world).",
    ),
]
AssumeRetrain = Annotated[
    bool,
    typer.Option(
        "--assume-retrain", help="With --assume: train anew on the log of each assumed world."
    ),
]
TrainingSeed = Annotated[int | None, typer.Option("--training-seed", help="Seed of training.")]
WorldSeed = Annotated[int | None, typer.Option("--world-seed", help="Which built-in world.")]
Primary = Annotated[
    str | None,
    typer.Option("--primary", help="Primary metric.", autocompletion=completion.metrics),
]
Guardrail = Annotated[
    list[str] | None,
    typer.Option(
        "--guardrail",
        help="METRIC=-1%: may not get worse by more. Repeatable.",
        autocompletion=completion.guardrails,
    ),
]
MinEffect = Annotated[
    str | None, typer.Option("--min-effect", help="Smallest effect worth shipping, as 0.5%.")
]
Rule = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        help="Decision rule: guardrails=proven (default) or guardrails=not-broken; "
        "effect=estimate (default) or effect=interval. Repeatable.",
        autocompletion=completion.choices(
            "guardrails=proven", "guardrails=not-broken", "effect=estimate", "effect=interval"
        ),
    ),
]
Detect = Annotated[
    str | None, typer.Option("--detect", help="Effect that automatic sizing must detect, as 4%.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Run directory to create.")]
Resume = Annotated[
    Path | None,
    typer.Option("--resume", help="Continue this run directory.", autocompletion=completion.runs),
]
Mirror = Annotated[
    str | None,
    typer.Option("--mirror", help="Directory or URL (s3://...) that finished files are copied to."),
]
EngineName = Annotated[
    str | None,
    typer.Option("--engine", help="local (default), or ray: the machines of a Ray cluster."),
]
FailOn = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        help=f"Exit {int(ExitCode.FAIL_ON)} if: {', '.join(FAIL_CONDITIONS)}.",
        autocompletion=completion.choices(*FAIL_CONDITIONS),
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, print plan, power, time, disk.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("run")(run)
    app.command("demo")(demo)


def run(
    treatment: Treatment = None,
    control: Control = None,
    candidates: Candidates = None,
    data: options.Data = None,
    world: World = None,
    language: Language = None,
    design: Design = None,
    users: Users = None,
    max_users: MaxUsers = None,
    days: Days = None,
    burn_in_days: BurnIn = None,
    log_users: LogUsers = None,
    sample_users: SampleUsers = None,
    explore_share: ExploreShare = None,
    explore_comments: ExploreComments = None,
    keep_log: KeepLog = False,
    assume: Assume = None,
    assume_retrain: AssumeRetrain = False,
    interference: options.Interference = False,
    seed: options.Seed = None,
    training_seed: TrainingSeed = None,
    world_seed: WorldSeed = None,
    primary: Primary = None,
    guardrail: Guardrail = None,
    min_effect: MinEffect = None,
    rule: Rule = None,
    detect: Detect = None,
    llm: options.Llm = None,
    preset: options.Preset = None,
    out: Out = None,
    resume: Resume = None,
    config: options.ConfigFile = None,
    workers: options.Workers = None,
    engine: EngineName = None,
    address: options.Address = None,
    mirror: Mirror = None,
    fail_on: FailOn = None,
    dry_run: DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """One experiment: train, simulate, analyse, report.

    [bold]Examples[/bold]

      abtest run --treatment lsvcr --control sasrec

      abtest run -t lsvcr -t popular -c sasrec --days 3 --users 20000

      abtest run -t my_policy.py:MyPolicy -c sasrec --design twin

      abtest run --data logs/kuairand -t lsvcr -c sasrec

      abtest run -t sasrec -c popular --explore-share 5% --explore-comments 5% --keep-log

      abtest run -t lsvcr -c sasrec --world small --language en

      abtest run -t lsvcr -c sasrec --dry-run           what it would do, detect and cost

      abtest run -t lsvcr -c sasrec --engine ray --address 10.0.0.1:6379

      abtest run -t sasrec+comment-value -c sasrec --assume uncertain

      abtest run --resume runs/lsvcr-vs-sasrec
    """
    flags = {
        "treatment": tuple(treatment or ()),
        "control": control,
        "candidates": candidates,
        "data": data,
        "world": world,
        "language": language,
        "design": design,
        "users": users,
        "max_users": max_users,
        "days": days,
        "burn_in_days": burn_in_days,
        "log_users": log_users,
        "sample_users": sample_users,
        "explore_share": None if explore_share is None else parse_percent(explore_share),
        "explore_comments": None if explore_comments is None else parse_percent(explore_comments),
        "keep_log": keep_log or None,
        "assume": tuple(assume or ()),
        "assume_retrain": assume_retrain or None,
        "interference": interference or None,
        "seed": seed,
        "training_seed": training_seed,
        "world_seed": world_seed,
        "primary": primary,
        "guardrail": tuple(guardrail or ()),
        "min_effect": None if min_effect is None else parse_percent(min_effect),
        "rule": tuple(rule or ()),
        "detect": None if detect is None else parse_percent(detect),
    }
    conditions = _fail_conditions(fail_on)
    if resume is not None and dry_run:
        raise UsageError("--dry-run plans a new run; --resume continues one.", "Nothing was run")
    if resume is not None:
        fixed = {**flags, "llm": llm, "preset": preset}
        given = sorted(k for k, v in fixed.items() if v not in (None, ()))
        if given or out is not None:
            what = (given or ["out"])[0].replace("_", "-")
            raise UsageError(
                f"--resume continues a run as it was started; --{what} cannot be changed.",
                "Nothing was run",
            )
        resolved = _run_config(resume)
    else:
        resolved = load_config(flags, file=config)
        trained = (*resolved.treatment, resolved.control)
        resolved = resolved.with_policies(options.lsvcr_settings(llm, preset, trained))
    where = (engine, workers, address, mirror)
    _execute(resolved, out, resume, where, conditions, dry_run, json, quiet)


def demo(
    users: Users = None,
    seed: options.Seed = None,
    out: Out = None,
    workers: options.Workers = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """From nothing to a report: lsvcr against sasrec on the built-in world."""
    resolved = load_config(
        {"users": users, "seed": seed},
        file=_DEMO,
    )
    _execute(resolved, out, None, (None, workers, None, None), (), False, json, quiet)


_DEMO = Path(__file__).with_name("demo.toml")


def _run_config(resume: Path) -> RunConfig:
    from abtest.run.run_directory import RunDirectory

    directory = RunDirectory.open(resume)
    if not (resume / "config.toml").is_file():
        raise UsageError(
            f"{resume} is an analysis or a replay; only a run can be continued.",
            f"Look at it: abtest report {resume}",
        )
    return directory.configuration()


def _fail_conditions(text: str | None) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    for condition in chosen:
        if condition not in FAIL_CONDITIONS:
            raise UsageError(
                f"--fail-on knows no condition '{condition}'.",
                f"Known: {', '.join(FAIL_CONDITIONS)}",
            )
    return chosen


def _preview(
    config: RunConfig, out: Path | None, workers: int | None, as_json: bool, console: Console
) -> None:
    from abtest.dry_run.preview import preview
    from abtest.dry_run.text import dry_run_json, dry_run_text

    found = preview(config, out=out, workers=workers, console=console)
    if as_json:
        put_json(dry_run_json(config, found))
    else:
        put(dry_run_text(config, found), nl=False)


def _execute(
    config: RunConfig,
    out: Path | None,
    resume: Path | None,
    where: tuple[str | None, int | None, str | None, str | None],
    fail_on: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    # Imported here so that `abtest --help` does not load torch.
    from abtest.results.conclusion import conclude, next_step
    from abtest.results.mirror import copy_finished
    from abtest.run.experiment import finished_run, run_experiment
    from abtest.run.machines import LOCAL, Machines
    from reports.render.terminal import render

    console = Console(quiet=quiet)
    engine, workers, address, mirror = where
    machines = Machines(engine or LOCAL, workers, address)
    if dry_run:
        machines.check()
        _preview(config, out, workers, as_json, console)
        return
    finished = None if resume is None else finished_run(resume)
    if finished is not None:
        console.note(f"{resume} is finished; nothing was run or changed")
    outcome = finished or run_experiment(
        config,
        out=out,
        resume=resume,
        machines=machines,
        console=console,
        mirror=mirror,
    )
    if finished is not None:
        copy_finished(finished.directory, mirror)
    if as_json:
        put_json(outcome.result.to_json())
    else:
        put(
            render(
                outcome.result,
                width=None,
                encoding=encoding_of(),
                color=colored(sys.stdout),
            )
        )
        put(f"\nReport: {outcome.directory / 'report.html'}")
        put(f"Next:   {next_step(outcome.result, outcome.directory)}")
        if not any(".py" in arm.treatment for arm in outcome.result.comparisons):
            put("        abtest policy new my_policy   (a ranker of your own)")
    code = conclude(outcome.result, fail_on)
    if code is not ExitCode.COMPLETE:
        raise typer.Exit(int(code))
