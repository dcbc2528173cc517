"""A log without the events that a policy learns from: refused by name, never trained on nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.abtest.conftest import Result

Run = Callable[..., Result]

CLICKS = '[policies.{name}]\nsignal = "clicked"\n'


@pytest.fixture
def clicks(abtest: Run, tmp_path: Path) -> Path:
    """40 people who click on two neighbours of 12 videos each, and like nothing."""
    rows = [
        f"{user},{(user + step) % 12},{1_700_000_000 + 3_600 * (40 * step + user)},{step != 3},9000"
        for user in range(40)
        for step in range(4)
    ]
    source, mapped = tmp_path / "clicks.csv", tmp_path / "map.toml"
    source.write_text("user,item,ts,click,watch\n" + "\n".join(rows) + "\n", encoding="utf-8")
    assert abtest("data", "map", source, "--out", mapped).code == 0
    imported = abtest("data", "import", source, tmp_path / "log", "--map", mapped)
    assert imported.code == 0, imported.err
    # The next command is one that can be run.
    assert f"--data {tmp_path / 'log'} -t popular -c random" in imported.out
    return tmp_path / "log"


@pytest.mark.parametrize("name", ["itemknn", "ease", "sasrec", "lsvcr"])
def test_a_policy_of_likes_is_refused_with_the_setting_that_helps(
    abtest: Run, clicks: Path, tmp_path: Path, name: str
) -> None:
    refused = abtest("train", name, "--data", clicks)
    assert refused.code == 3, refused.err
    assert f"{name} learns from liked" in refused.err
    assert f'signal = "clicked" in abtest.toml, [policies.{name}]' in refused.err
    if name == "itemknn":
        (tmp_path / "abtest.toml").write_text(CLICKS.format(name=name), encoding="utf-8")
        assert abtest("train", name, "--data", clicks).code == 0


def test_an_evaluation_leaves_it_out_and_names_the_other_signal(
    abtest: Run, clicks: Path, tmp_path: Path
) -> None:
    asked = ("evaluate", "popular", "itemknn", "--task", "videos", "--data", clicks)
    liked = abtest(*asked)
    assert liked.code == 3
    assert "two liked videos" in liked.err and "--signal clicked" in liked.err
    clicked = abtest(*asked, "--signal", "clicked")
    assert clicked.code == 0, clicked.err
    assert "itemknn is left out" in clicked.err and "[policies.itemknn]" in clicked.err
    alone = abtest("evaluate", "itemknn", "--task", "videos", "--data", clicks, "--signal=clicked")
    assert alone.code == 2 and "itemknn learns from liked" in alone.err
    (tmp_path / "abtest.toml").write_text(CLICKS.format(name="itemknn"), encoding="utf-8")
    told = abtest(*asked, "--signal", "clicked", "--json")
    assert '"itemknn"' in told.out and "left out" not in told.err


def test_a_run_stops_before_it_compares_a_policy_that_knows_nothing(
    abtest: Run, clicks: Path
) -> None:
    asked = ("-t", "itemknn", "-c", "popular", "--data", clicks, "--primary", "play_time")
    result = abtest("run", *asked, "--workers", "1")
    assert result.code == 3, result.out
    assert "itemknn learns from liked videos" in result.err
    assert "last-failure" not in result.err


def test_what_the_source_does_not_say_is_refused_by_the_commands_that_need_it(
    abtest: Run, clicks: Path, tmp_path: Path
) -> None:
    mapped = tmp_path / "map.toml"
    text = mapped.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(("is_click", "play_time"))]
    unsaid = "\n".join([*lines, "is_click = {placeholder = 1}", "play_time_ms = {placeholder = 0}"])
    mapped.write_text(unsaid, encoding="utf-8")
    source, log = tmp_path / "clicks.csv", tmp_path / "unsaid"
    imported = abtest("data", "import", source, log, "--map", mapped)
    assert imported.code == 0, imported.err
    assert f"abtest data describe {log} --against kuaishou" in imported.out
    arms = ("-t", "popular", "-c", "random", "--data", log)
    for command in (
        ("run", *arms, "--primary", "play_time", "--workers", "1"),
        ("replay", *arms),
        ("data", "fidelity", log),
        ("evaluate", "popular", "--data", log, "--signal", "clicked"),
    ):
        refused = abtest(*command)
        assert refused.code == 3, (command, refused.out)
        assert "does not say is_click: it is a placeholder" in refused.err
        assert "is_click = 1" in refused.err
    shown = abtest("data", "describe", log, "--json").out
    figures = {s["name"]: s["value"] for s in json.loads(shown)["statistics"]}
    assert figures["rows.impressions"] == 160
    assert figures["click_rate.standard"] is None
    # Of a log whose every row is a click, the same column is data.
    mapped.write_text(unsaid.replace("is_click = {placeholder = 1}", "is_click = 1"), "utf-8")
    assert abtest("data", "import", source, log, "--map", mapped, "--force").code == 0
    told = abtest("evaluate", "popular", "--task", "videos", "--data", log, "--signal", "clicked")
    assert told.code == 0, told.err
    run = abtest("run", *arms, "--primary", "play_time", "--workers", "1")
    assert run.code == 3 and "does not say play_time_ms" in run.err
