"""A folder with the files that the pages name, small: a log, a run, tables of users."""

from __future__ import annotations

import doctest
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from simulator.logs.dataset import Dataset
from simulator.logs.exporters import export_logs
from tests.abtest.in_process import without_workers

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "AGENTS.md", *sorted((ROOT / "docs").glob("*.md"))]


def indented(page: Path) -> list[str]:
    """The blocks of indented lines of a page, without their indent."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, flags=re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip("\n") + "\n" for block in found]


def fenced(page: Path, language: str) -> list[tuple[str, str]]:
    """Blocks of a language, each with why it is not run; '' if it is."""
    text = page.read_text(encoding="utf-8")
    marked = r"(?:<!-- not run: ([^>]*?) -->\n)?```" + language + r"\n(.*?)```"
    return [(block, why) for why, block in re.findall(marked, text, flags=re.DOTALL)]


class Prepared(NamedTuple):
    """The folder, and what came of running the page that wrote the run in it."""

    place: Path
    failed: int
    attempted: int
    told: str


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """Everything that the pages' commands read, under the names that the pages use.

    The run and its log are those of docs/python.md, whose examples are run here.
    """
    place = tmp_path_factory.mktemp("docs")
    page = ROOT / "docs" / "python.md"
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("ABTEST_CACHE", str(place / "cache"))
        _one_process(patch)
        code = "\n".join(block for block, _ in fenced(page, "python"))
        examples = doctest.DocTestParser().get_doctest(code, {}, page.name, str(page), 0)
        failed, attempted = doctest.DocTestRunner().run(examples, out=told.write)
        _write_tables(place)
        if (place / "runs" / "first").is_dir():
            shutil.copytree(place / "runs" / "first", place / "runs" / "x")
            log = Dataset.open(place / "runs" / "x" / "log")
            export_logs(log, place / "kuairand", format="kuairand")
    yield Prepared(place, failed, attempted, told.getvalue())


@pytest.fixture
def place(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The prepared folder as the working directory."""
    monkeypatch.chdir(prepared.place)
    monkeypatch.setenv("ABTEST_CACHE", str(prepared.place / "cache"))
    _one_process(monkeypatch)
    return prepared.place


def _one_process(patch: pytest.MonkeyPatch) -> None:
    """One worker, and that one here: these runs take less time than a process needs to start."""
    without_workers(patch)
    patch.setattr("abtest.run.machines.default_workers", lambda: 1)


def _write_tables(place: Path) -> None:
    """Tables of users and of events, and the metrics file of docs/analyze.md."""
    rng, users = np.random.default_rng(3), 400
    views = rng.poisson(20, users) + 1
    table = pl.DataFrame(
        {
            "user_id": np.arange(users),
            "arm": ["control", "treatment"] * (users // 2),
            "revenue": rng.gamma(2.0, 3.0, users),
            "clicks": rng.binomial(views, 0.2),
            "views": views,
            "crashes": rng.poisson(1.0, users),
            "hangs": rng.poisson(1.0, users),
            "sessions": rng.poisson(5.0, users) + 1,
            "profit": rng.normal(0.0, 2.0, users),
        }
    )
    table.write_parquet(place / "users.parquet")
    for part, rows in enumerate(table.iter_slices(users // 2)):
        rows.write_csv(place / f"part-{part}.csv")
    names = pl.col("arm").replace({"control": "A", "treatment": "B"}).alias("group")
    table.rename({"user_id": "id"}).select("id", names, pl.exclude("id", "arm")).write_csv(
        place / "users.csv"
    )
    days = pl.date_range(pl.date(2026, 11, 1), pl.date(2026, 11, 4), eager=True).alias("date")
    by_day = table.select("user_id", "arm").join(days.to_frame(), how="cross")
    by_day.with_columns(minutes=rng.gamma(2.0, 10.0, len(by_day))).write_parquet(
        place / "days.parquet"
    )
    metrics = next(b for b in indented(ROOT / "docs" / "analyze.md") if "[metrics." in b)
    (place / "metrics.toml").write_text(metrics, encoding="utf-8")
    _events(rng).write_csv(place / "events.csv")


def _events(rng: np.random.Generator) -> pl.DataFrame:
    """A log of impressions with names of its own."""
    rows = 600
    watched = rng.integers(0, 40, rows)
    return pl.DataFrame(
        {
            "uid": rng.integers(1, 41, rows),
            "item": rng.integers(1, 61, rows),
            "ts": 1_700_000_000 + np.sort(rng.integers(0, 86_400, rows)),
            "watched": watched,
            "length": rng.integers(5, 60, rows),
            "click": (watched > 7).astype(int),
            "liked": rng.integers(0, 2, rows),
        }
    )
