"""Piped, a stage is one line; other messages do not go behind its title."""

from __future__ import annotations

import io
import re

import pytest

from abtest.console import Console


def test_a_stage_is_one_line_and_two_in_the_log() -> None:
    said, log = io.StringIO(), []
    console = Console(said)
    console.listener = log.append
    with console.stage("train", "training popular") as stage:
        assert said.getvalue() == "training popular ..."
        stage.update("", 0.5, "NDCG@10 0.1")
    assert re.fullmatch(r"training popular \.\.\. \d+\.\d s, NDCG@10 0\.1\n", said.getvalue())
    assert log[0] == "training popular ..." and log[1].startswith("training popular: ")


def test_what_is_said_meanwhile_has_its_own_line() -> None:
    said = io.StringIO()
    console = Console(said)
    with console.stage("a", "outer"):
        console.warn("odd")
        with console.stage("b", "inner"):
            pass
    lines = [re.sub(r"\d+\.\d s", "T", line) for line in said.getvalue().splitlines()]
    assert lines == ["outer ...", "warning: odd", "inner ... T", "outer: T"]


def test_an_error_ends_the_line() -> None:
    said = io.StringIO()
    console = Console(said)
    with pytest.raises(ValueError, match="no"), console.stage("a", "reading"):
        raise ValueError("no")
    assert said.getvalue() == "reading ...\n"


def test_quiet_says_warnings_only() -> None:
    said = io.StringIO()
    console = Console(said, quiet=True)
    with console.stage("a", "reading"):
        console.warn("odd")
    assert said.getvalue() == "warning: odd\n"


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_narrow_terminal_cuts_words_and_never_the_time(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    said = io.StringIO()
    monkeypatch.setattr(said, "isatty", lambda: True, raising=False)
    with Console(said).stage("train", "training gru4rec:epochs=3,epoch_steps=40[red]") as stage:
        stage.update("gru4rec", 0.42, "epoch 12, loss 5.969, NDCG@10 0.0664, patience 3 of 4")
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said.getvalue()).splitlines()
    (shown,) = {line.strip() for line in lines if "42%" in line}
    assert re.search(r"^training gru.* 42% 0:00:\d\d (--:--|\d\d:\d\d) gru4rec", shown), shown
    assert len(shown) <= columns
