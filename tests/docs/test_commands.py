"""The commands in the README and docs exist and take the options that are written there."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from abtest.cli import app
from tests.docs.conftest import PAGES, ROOT

NOT_A_COMMAND = re.compile(r"^abtest(/| is | run \|)")


def _lines(page: Path) -> Iterator[str]:
    """Indented or inline commands; continued lines joined, explanations cut off."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("    "):
            # Two spaces or a hash part a command from its explanation.
            yield re.split(r"\s{2,}|\s#", line.strip())[0]
    for inline in re.findall(r"`((?:abtest|python -m benchmarks)[^`|]*)`", text.replace("\n", " ")):
        yield re.sub(r"\s+", " ", inline)


def _commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in dict.fromkeys(_lines(page)):
            if NOT_A_COMMAND.match(line) or "..." in line:
                continue
            if line.startswith(("abtest ", "python -m benchmarks.")):
                yield page.name, line


COMMANDS = list(_commands())


def check_flags(words: list[str], where: str) -> None:
    """A command of ours and its options exist."""
    command = typer.main.get_command(app)
    rest = words[1:]
    context = command.make_context("abtest", list(rest), resilient_parsing=True)
    while hasattr(command, "commands") and rest:
        if rest[0].startswith("-"):
            return
        assert rest[0] in command.commands, f"{where}: abtest has no command '{rest[0]}'"
        command, rest = command.commands[rest[0]], rest[1:]
        context = command.make_context(command.name, list(rest), parent=context,
                                       resilient_parsing=True)  # fmt: skip
    known = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}
    known |= set(command.get_help_option_names(context))
    for word in rest:
        if re.match(r"^-{1,2}[a-z]", word):
            assert word.partition("=")[0] in known, f"{where} has no {word}"


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 60


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{p}: {c[:60]}" for p, c in COMMANDS])
def test_a_command_in_the_docs_can_be_typed(page: str, line: str) -> None:
    words = shlex.split(re.sub(r"\s[>&].*$", "", line))
    if words[0] == "python":
        module = words[2].rstrip(".,")
        assert importlib.util.find_spec(module) is not None, f"{page}: no module {module}"
        path = ROOT / module.replace(".", "/")
        source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        text = source.read_text(encoding="utf-8")
        for option in (w for w in words[3:] if w.startswith("--")):
            known = option.partition("=")[0] in text or "import options" in text
            assert known, f"{page}: {module} has no {option}"
        return
    check_flags(words, f"{page}: '{line}'")
