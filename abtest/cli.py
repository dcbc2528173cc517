"""Start the command line: `abtest run`, `abtest demo` and the other commands.

Results go to standard output, everything else to standard error. Exit codes are in
`abtest.errors.ExitCode`.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

import abtest
from abtest.commands import (
    analyze,
    data,
    doctor,
    evaluate,
    policy,
    power,
    replay,
    report,
    run,
    world,
)
from abtest.commands.messages import usage_message
from abtest.errors import STOPPED, ExitCode, UsageError, describe_error
from abtest.terminal import flowing, prepare, put
from reports.formats import visible

_LONGEST = 2_000
"""Characters of a message: names in it may be megabytes of a file that is no table."""

app = typer.Typer(
    name="abtest",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        put(f"abtest {abtest.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Simulated A/B tests of video and comment rankers on a short-video platform.

    [bold]Examples[/bold]

      abtest demo                                        from nothing to a report

      abtest run --treatment lsvcr --control sasrec      one experiment

      abtest data import kuairand/ logs/kuairand         your own logs

      abtest run --data logs/kuairand --treatment lsvcr --control sasrec

      abtest run --treatment my_policy.py:MyPolicy --control sasrec

      abtest analyze users.parquet --metric revenue      a real experiment
    """


run.register(app)
replay.register(app)
evaluate.register(app)
power.register(app)
analyze.register(app)
report.register(app)
data.register(app)
policy.register(app)
world.register(app)
doctor.register(app)


def _flow(group: typer.Typer) -> None:
    """Let every help text be wrapped by the terminal that shows it, not where its source is."""
    for command in group.registered_commands:
        command.help = flowing(inspect.getdoc(command.callback) or "") or command.help
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _flow(inner.typer_instance)


_flow(app)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: run the command, turn every expected error into one line and an exit code."""
    sys.exit(run_cli(arguments))


def run_cli(arguments: list[str] | None = None) -> int:
    """Like `main`, but returns the exit code (for tests)."""
    prepare()
    command = typer.main.get_command(app)
    try:
        _check_names(sys.argv[1:] if arguments is None else arguments)
        result = command.main(args=arguments, prog_name="abtest", standalone_mode=False)
        # Typer turns Ctrl-C into this code, and says nothing.
        if result == ExitCode.INTERRUPTED:
            return _fail(ExitCode.INTERRUPTED, STOPPED)
        return int(result) if isinstance(result, int) else ExitCode.COMPLETE
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return _fail(ExitCode.INTERRUPTED, STOPPED)
    except typer.TyperException as error:
        return _fail(ExitCode.USAGE, usage_message(error))
    except BrokenPipeError:
        # The reader of a pipe went away (`abtest ... | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.COMPLETE
    except BaseException as error:
        known = describe_error(error)
        if known is None:
            raise
        for line in getattr(error, "trace", ()):
            put(f"  {visible(line)}", err=True)
        return _fail(*known)


def _check_names(words: list[str]) -> None:
    """Refuse names that are no UTF-8, which the libraries that read and write tables cannot take.

    Raises:
        UsageError: a word of the command, the working directory or the cache is one.
    """
    names = [("", word) for word in words]
    names.append(("ABTEST_CACHE ", os.environ.get("ABTEST_CACHE", "")))
    with contextlib.suppress(FileNotFoundError):
        names.append(("the working directory ", str(Path.cwd())))
    for what, name in names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError(
                f"{what}'{name}' is not UTF-8.", "Rename it, or link to it under another name"
            ) from None


def _fail(code: int, message: str) -> int:
    text = visible(message)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST * 3 // 4]} ... {text[-_LONGEST // 4 :]}"
    put(f"abtest: {text}", err=True)
    return int(code)
