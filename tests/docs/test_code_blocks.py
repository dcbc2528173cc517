"""The code on the pages runs: Python blocks, quick commands, and configuration files."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from abtest.cli import run_cli
from simulator.logs.importers.mapping import read_map
from tests.docs.conftest import PAGES, ROOT, Prepared, fenced, indented
from tests.docs.test_commands import COMMANDS

NOT_RUN = {"README.md": ["an outline of the class; `abtest policy new` writes one that runs"]}
"""Python blocks that a comment in the page exempts, and why."""

OTHER_PAGES = [p for p in PAGES if p.name != "python.md" and fenced(p, "python")]
"""Pages whose blocks are programs; those of docs/python.md are sessions."""

# In this order: some read what others write. None trains a neural policy.
QUICK = (
    "abtest --help",
    "abtest run --help",
    "abtest policy list",
    "abtest policy show sasrec",
    "abtest policy show lsvcr",
    "abtest policy new my_policy",
    "abtest analyze users.parquet --metric revenue",
    'abtest analyze users.parquet --metric revenue --metric "ctr=clicks/views"',
    "abtest analyze users.csv --user id --arm group --control A --metrics metrics.toml",
    "abtest analyze days.parquet --day date --start 2026-11-02 --metric minutes",
    "abtest power users.parquet --mde 1%",
    "abtest aa users.parquet --metric revenue",
    "abtest power runs/x --mde 1%",
    "abtest aa runs/x",
    "abtest report runs/x --format md",
    "abtest data import kuairand/ logs/kuairand",
    "abtest data check logs/kuairand",
    "abtest data describe logs/kuairand --against kuaishou",
    "abtest data export logs/kuairand files --format kuairand",
    "abtest data map events.csv > map.toml",
    "abtest data import events.csv logs/mine --map map.toml",
)
UNTRUSTWORTHY = 4
"""Exit code of a log or an experiment that is too small to tell; these ones are."""


def test_the_blocks_that_do_not_run_say_why() -> None:
    blocks = {page.name: fenced(page, "python") for page in PAGES}
    assert sum(len(found) for found in blocks.values()) >= 8
    exempt = {name: [why for _, why in found if why] for name, found in blocks.items()}
    assert {name: why for name, why in exempt.items() if why} == NOT_RUN


def test_the_examples_of_the_python_page_run(prepared: Prepared) -> None:
    assert prepared.attempted > 15
    assert prepared.failed == 0, prepared.told


@pytest.mark.parametrize("page", OTHER_PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for block, why in fenced(page, "python"):
        if not why:
            exec(compile(block, str(page), "exec"), names)
    if page.name == "environment.md":
        assert re.fullmatch(r"\d+ seconds in comments on 1280 pages\n", capsys.readouterr().out)


@pytest.mark.parametrize("line", QUICK)
def test_quick_commands_run(line: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert line in {command for _, command in COMMANDS}, "no page has this command"
    command, _, file = line.partition(" > ")
    code = run_cli(shlex.split(command)[1:])
    out, err = capsys.readouterr()
    assert int(code) in (0, UNTRUSTWORTHY), err
    assert out
    if file:
        (place / file).write_text(out, encoding="utf-8")


def test_configuration_on_the_pages_can_be_read(place: Path) -> None:
    found = {
        page.name: [block for block in indented(page) if re.search(r"^\[[\w.]+\]", block, re.M)]
        for page in PAGES
    }
    assert {name for name, blocks in found.items() if blocks} == {
        "analyze.md",
        "import.md",
        "lsvcr.md",
        "world.md",
    }
    for blocks in found.values():
        for block in blocks:
            tomllib.loads(block)
    (place / "example.toml").write_text(found["import.md"][0], encoding="utf-8")
    assert read_map(place / "example.toml")


def test_the_outline_in_the_readme_names_the_methods_of_a_policy() -> None:
    from policies.base import Policy

    (outline, _), *_ = fenced(ROOT / "README.md", "python")
    names = re.findall(r"def (\w+)\(", outline)
    assert set(names) == {"fit", "score_videos", "score_comments"}
    assert all(hasattr(Policy, name) for name in names)
