"""The five-minute tutorial runs as it is written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from abtest.cli import run_cli

PAGE = Path(__file__).parents[2] / "docs" / "policy-tutorial.md"


def test_every_command_of_the_tutorial_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slow, because it is one whole experiment from nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("abtest.dry_run.pilot.PEOPLE", 64)
    commands = re.findall(r"^    abtest (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        words = shlex.split(command)
        if words[0] == "run" and "--dry-run" not in words:
            words += ["--workers", "1"]
        assert run_cli(words) == 0, f"{command}: {capsys.readouterr().err}"
        if words[0] == "run":
            # Whoever runs a ranker of their own is not told to write one.
            assert "policy new" not in capsys.readouterr().out
    assert {"my_policy.py", "my_comments.py", "my_network.py", "first.md"} <= {
        path.name for path in tmp_path.iterdir()
    }
    page = (tmp_path / "runs" / "first" / "report.html").read_text(encoding="utf-8")
    assert "keeps 8 rules that were tried" in page
