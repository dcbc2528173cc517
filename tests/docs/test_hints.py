"""Every command and option that a message names can be typed.

The messages are collected from the source: all texts that are no docstrings. A command is what
follows ``abtest``; with a colon before it ("Next: abtest ...") it must also have all it needs.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from abtest.cli import app
from tests.docs.test_commands import check_flags

ROOT = Path(__file__).parents[2]
ROOMS = ("abtest", "simulator", "reports", "policies", "lsvcr")
COMMAND = re.compile(r"(: +)?(?<!this )\babtest (?=[a-z-])([^\n:;`()]*)")
PROSE = re.compile(r"(version|reads)\b")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
OWN_PARSER = ("lsvcr/align.py",)
NEEDED_BY: dict[str, tuple[str, ...]] = {
    "abtest/experiment_tables/": ("analyze",),
    "abtest/power/": ("power", "aa"),
    "abtest/evaluate/": ("evaluate",),
    "policies/evaluation/": ("evaluate",),
    "abtest/replay/": ("replay",),
    "simulator/replay/": ("replay",),
    "abtest/run/": ("run", "data synth", "replay"),
    "reports/users/": ("analyze",),
    "reports/analysis/": ("analyze",),
    "simulator/logs/importers/": ("data import", "data map"),
    "simulator/logs/dataset.py": ("data import", "data synth"),
}
"""Which command prints the messages of a room; of others any command may."""


OF_OTHERS = {("abtest/run/cluster/connection.py", "--head")}
"""Options of other programs: `ray start --head`."""


class Message(NamedTuple):
    """A text of the source; what is put into it stands as X."""

    file: str
    line: int
    text: str


def _docstrings(tree: ast.AST) -> set[int]:
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [v.value if isinstance(v, ast.Constant) else "X" for v in node.values]
        return "".join(map(str, parts))
    return None


def _messages() -> Iterator[Message]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            skip = _docstrings(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    skip |= {id(part) for part in node.values}
            file = path.relative_to(ROOT).as_posix()
            for node in ast.walk(tree):
                text = None if id(node) in skip else _text(node)
                if text is not None:
                    yield Message(file, node.lineno, text)  # type: ignore[attr-defined]


MESSAGES = list(_messages())


def _commands() -> Iterator[tuple[str, list[str], bool]]:
    """Where it stands, its words, and whether it must be complete."""
    for message in MESSAGES:
        for found in COMMAND.finditer(message.text):
            whole = re.split(r"\. |, (?=abtest)|[.,]$| on the |, it ", found[2])[0].strip(" .,")
            if not PROSE.match(whole):
                words = ["abtest", *shlex.split(whole)]
                yield f"{message.file}:{message.line} '{whole}'", words, bool(found[1])


HINTS = list(_commands())


def _parsed(words: list[str]) -> None:
    """As the shell would give it; nothing is run."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("abtest", words[1:], resilient_parsing=True)
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        command, rest = command.commands[rest[0]], rest[1:]
        strict = not hasattr(command, "commands") and "--help" not in rest
        context = command.make_context(
            command.name, list(rest), parent=context, resilient_parsing=not strict
        )


def test_there_are_hints_to_check() -> None:
    assert len(HINTS) > 80
    assert sum(complete for _, _, complete in HINTS) > 50


@pytest.mark.parametrize(("where", "words", "complete"), HINTS, ids=[h[0] for h in HINTS])
def test_a_command_in_a_message_can_be_typed(where: str, words: list[str], complete: bool) -> None:
    check_flags(words, where)
    if complete:
        try:
            _parsed(words)
        except Exception as error:
            pytest.fail(f"{where} cannot be typed: {error}")


def _flags(name: str) -> set[str]:
    command: Any = typer.main.get_command(app)
    for word in name.split():
        command = command.commands[word]
    return {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}


def _all_flags(command: Any = None) -> set[str]:
    command = command or typer.main.get_command(app)
    found = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)} | {"--help"}
    for inner in getattr(command, "commands", {}).values():
        found |= _all_flags(inner)
    return found


OPTIONS = [
    (message, option)
    for message in MESSAGES
    if not message.file.startswith(("abtest/commands/", *OWN_PARSER))
    for option in dict.fromkeys(OPTION.findall(COMMAND.sub("", message.text)))
]


def test_options_in_messages_are_options_of_the_command_that_prints_them() -> None:
    everywhere = _all_flags()
    wrong = []
    for message, option in OPTIONS:
        commands = next((c for r, c in NEEDED_BY.items() if message.file.startswith(r)), ())
        known = set().union(*map(_flags, commands)) if commands else everywhere
        if option not in known and (message.file, option) not in OF_OTHERS:
            wrong.append(f"{message.file}:{message.line} {option} in '{message.text[:80]}'")
    assert len(OPTIONS) > 60
    assert wrong == []


def test_what_the_reader_of_tables_advises_holds_for_every_command_that_reads_tables() -> None:
    named = {o for m, o in OPTIONS if m.file.startswith("simulator/tables/")}
    assert {"--encoding", "--bad-rows"} <= named
    for command in ("analyze", "power", "aa", "data import"):
        assert named <= _flags(command), command
