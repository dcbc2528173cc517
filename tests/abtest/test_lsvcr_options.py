"""--llm and --preset: short for settings of lsvcr in the configuration file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821


def resolved(result: Any) -> dict[str, Any]:
    assert result.code == 0, result.err
    return tomllib.loads(result.out)["policies"]


def test_they_are_settings_over_those_of_the_file(
    abtest: Run, tmp_path: Path, quick_pilot: None
) -> None:
    (tmp_path / "abtest.toml").write_text(
        '[policies.lsvcr]\npreset = "paper"\nbatch = 32\n[policies.sasrec]\nlayers = 1\n',
        encoding="utf-8",
    )
    told = resolved(abtest("run", "--dry-run", "--llm", "models/qwen", "--preset", "base"))
    assert told == {
        "lsvcr": {"preset": "base", "batch": 32, "llm": "models/qwen", "alignment": "llm"},
        "sasrec": {"layers": 1},
    }
    assert resolved(abtest("run", "--dry-run"))["lsvcr"] == {"preset": "paper", "batch": 32}


def test_what_they_resolve_to_is_what_a_file_says(
    abtest: Run, tmp_path: Path, quick_pilot: None
) -> None:
    flags = tomllib.loads(abtest("run", "--dry-run", "--preset", "base").out)
    file = tmp_path / "same.toml"
    file.write_text('[policies.lsvcr]\npreset = "base"\n', encoding="utf-8")
    assert tomllib.loads(abtest("run", "--dry-run", "--config", file).out) == flags


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("run", "-t", "popular", "-c", "random", "--llm", "x"), "--llm is a setting of lsvcr"),
        (("train", "popular", "--preset", "base"), "--preset is a setting of lsvcr"),
        (("run", "--resume", "runs/one", "--preset", "base"), "--preset cannot be changed"),
        (
            ("train", "lsvcr", "--preset", "huge"),
            "preset is 'huge', expected one of",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_where_they_say_nothing_they_are_refused(
    abtest: Run, small_log: Path, arguments: tuple[str, ...], problem: str
) -> None:
    data = () if "--resume" in arguments else ("--data", small_log)
    result = abtest(*arguments, *data)
    assert result.code != 0
    assert problem in result.err
