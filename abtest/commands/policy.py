"""Parse the options of `abtest policy list|show|new|check`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from abtest.commands import completion, options
from abtest.config_sources import suggest
from abtest.console import Console
from abtest.errors import ExitCode, UsageError
from abtest.files import write_text
from abtest.terminal import flowing, put, put_json

app = typer.Typer(no_args_is_help=True, help="Built-in and your own policies.")

Spec = Annotated[
    str,
    typer.Argument(help="A policy's name, or file.py:Class.", autocompletion=completion.policies),
]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="policy")


@app.command("list")
def list_command(as_json: options.Json = False) -> None:
    """Every policy that can be named."""
    from abtest.run.arms.oracle import ORACLE_NOTE
    from abtest.tables import policy_table, wrapped
    from policies.registry import describe_all, plugin_warnings

    console = Console()
    records = describe_all()
    for warning in plugin_warnings():
        console.warn(warning)
    if as_json:
        rows = [
            {
                "name": r.name,
                "summary": r.summary,
                "source": r.source,
                "ranks": list(r.ranks),
                "is_oracle": r.is_oracle,
            }
            for r in records
        ]
        put_json({"policies": rows})
    else:
        put(policy_table(records))
        oracles = [record.name for record in records if record.is_oracle]
        if oracles:
            put("\n".join(wrapped(f"{', '.join(oracles)}: each {ORACLE_NOTE}.")))


@app.command()
def show(spec: Spec, as_json: options.Json = False) -> None:
    """One policy: what it does, its settings, where its code is.

    [bold]Examples[/bold]

      abtest policy show sasrec

      abtest policy show my_policy.py:MyPolicy
    """
    import inspect

    from abtest.run.arms.oracle import ORACLE_NOTE
    from abtest.tables import fitted
    from policies.registry import create, described
    from policies.settings import Settings

    policy = create(spec)
    kind = type(policy)
    settings = policy.settings()
    of_settings = kind.settings_class
    # A constructor with arguments of its own describes them itself.
    about = inspect.getdoc(of_settings) if settings and of_settings is not Settings else None
    if as_json:
        put_json(
            {
                "name": spec,
                "class": f"{kind.__module__}.{kind.__qualname__}",
                "description": described(kind),
                "is_oracle": kind.is_oracle,
                "code": inspect.getsourcefile(kind),
                "settings": settings,
                "settings_description": about,
            }
        )
        return
    put(fitted(f"{spec}  ({kind.__module__}.{kind.__qualname__})"))
    put("")
    put(fitted(flowing(described(kind))))
    if kind.is_oracle:
        put(f"\noracle: {ORACLE_NOTE}")
    put(f"\ncode: {inspect.getsourcefile(kind)}")
    if about:
        put(fitted(f"\n{of_settings.__name__}: {flowing(about)}"))
    if settings:
        put(fitted("\nsettings (abtest.toml, [policies.NAME]):"))
        for key, value in settings.items():
            shown = "(chosen by size)" if value is None else f"= {json.dumps(value)}"
            put(fitted(f"  {key} {shown}"))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the file to write, without .py.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="video, comment, or sequence (a network over the videos that people liked).",
            autocompletion=completion.choices("video", "comment", "sequence"),
        ),
    ] = "video",
    force: options.Force = False,
) -> None:
    """Write a policy file that runs as generated, and a test file that holds it to the contract.

    [bold]Examples[/bold]

      abtest policy new my_policy

      abtest policy new my_comments --kind comment
    """
    from abtest.policy_tools.new import KINDS, class_name, policy_source, suite_source

    chosen = next((k for k in KINDS if k == kind), None)
    if chosen is None:
        raise UsageError(f"--kind is '{kind}', expected {', '.join(KINDS)}.{suggest(kind, KINDS)}")
    stem = name.removesuffix(".py")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", Path(stem).name):
        raise UsageError(f"'{name}' is not a Python module name.", "Example: my_policy")
    path = Path(f"{stem}.py")
    test = path.with_name(f"test_{path.name}")
    for file in (path, test):
        if file.exists() and not force:
            raise UsageError(f"{file} exists and is left untouched.", "Replace it: --force")
    if not path.parent.is_dir():
        raise UsageError(f"no folder {path.parent}.", f"Make it: mkdir -p {path.parent}")
    write_text(path, policy_source(path.stem, chosen))
    write_text(test, suite_source(path.stem))
    spec = f"{path}:{class_name(path.stem)}"
    asked = f"sasrec+{spec}" if chosen == "comment" and len(path.parts) == 1 else spec
    put(f"Wrote {path} and {test}")
    put(f"Check it: abtest policy check {spec}")
    small = asked.replace("sasrec+", "popular+")
    put(
        f"Try it:   abtest run --treatment {small} --control popular --world small "
        "--log-users 300 --users 400"
    )
    put(f"Run it:   abtest run --treatment {asked} --control sasrec   (takes minutes)")


@app.command()
def check(
    spec: Spec,
    data: options.Data = None,
    as_json: options.Json = False,
) -> None:
    """Run the contract: shapes, determinism, batching, no look into the future, save and load.

    Without --data it uses a small built-in world.

    [bold]Examples[/bold]

      abtest policy check my_policy.py:MyPolicy

      abtest policy check my_policy.py:MyPolicy --data logs/kuairand
    """
    from abtest.run.arms.oracle import refuse_oracles
    from abtest.run.contract.suite import check_policy
    from abtest.run.datasets import open_dataset, small_dataset
    from abtest.tables import check_table

    refuse_oracles([spec])
    console = Console()
    dataset = small_dataset(console) if data is None else open_dataset(data, console)
    with console.stage("check", f"checking {spec}"):
        results = check_policy(spec, dataset)
    if as_json:
        rows = [{"name": r.name, "passed": r.passed, "detail": r.detail} for r in results]
        put_json({"checks": rows})
    else:
        put(check_table(results))
    if not all(r.passed for r in results):
        raise typer.Exit(int(ExitCode.POLICY))
