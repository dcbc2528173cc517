"""`abtest world calibrate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tomli_w
import typer

from abtest.console import Console
from abtest.errors import UsageError
from abtest.paths import write_text

app = typer.Typer(no_args_is_help=True, help="The built-in world.")


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="world")


@app.callback()
def world() -> None:
    """Keeps `calibrate` a subcommand while it is the only one."""


@app.command()
def calibrate(
    preset: Annotated[str, typer.Option("--world", help="Preset to start from.")] = "default",
    out: Annotated[Path, typer.Option("--out", "-o", help="TOML file to write.")] = Path(
        "fitted.toml"
    ),
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Simulated rounds.")] = 14,
    users: Annotated[int, typer.Option("--users", min=50, help="People per round.")] = 1_200,
    days: Annotated[int, typer.Option("--days", min=1, help="Days per round.")] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Of the world and all draws.")] = 1,
) -> None:
    """Fit the world's parameters to published marginals; prints each target's ratio.

    Only the platform's own ranker is simulated: no policy, no lift.

    [bold]Example[/bold]

      abtest world calibrate --out fitted.toml
    """
    from abtest.tables import table
    from simulator.calibrate import KNOBS, measure
    from simulator.calibrate import calibrate as fit
    from simulator.world.config import WorldConfig

    if out.exists():
        raise UsageError(f"{out} exists and is left untouched.", "Choose another --out")
    config = WorldConfig.preset(preset)
    console = Console()
    with console.stage("calibrate", f"{rounds} rounds of {users:,} people") as stage:

        def report(number: int, measured: dict[str, float]) -> None:
            worst = max(abs(measured[k.target] / k.published - 1.0) for k in KNOBS)
            stage.update("", (number + 1) / rounds, f"largest deviation {worst:.1%}")

        fitted = fit(config, seed=seed, users=users, days=days, rounds=rounds, report=report)
        measured = measure(fitted, seed + 1, users, days)
    values = {k.parameter: getattr(fitted, k.parameter) for k in KNOBS}
    write_text(out, f'base = "{preset}"\n{tomli_w.dumps(values)}')
    changed = dataclasses.asdict(config)
    typer.echo(
        table(
            [
                (
                    k.target,
                    k.parameter,
                    f"{changed[k.parameter]:.4g}",
                    f"{values[k.parameter]:.4g}",
                    f"{measured[k.target]:.4g}",
                    f"{k.published:.4g}",
                    f"{measured[k.target] / k.published:.3f}",
                )
                for k in KNOBS
            ],
            header=("target", "parameter", "before", "after", "now", "published", "ratio"),
            right=(2, 3, 4, 5, 6),
        )
    )
    typer.echo(f"\nMeasured with another seed ({seed + 1}). Written: {out}")
