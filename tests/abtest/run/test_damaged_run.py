"""Whatever file of a run directory is damaged, the message names it and says what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from abtest.cli import run_cli
from tests.abtest.conftest import Result
from tests.abtest.in_process import without_workers

Run = Callable[..., Result]
Damage = Callable[[bytes], bytes]

DAMAGES: dict[str, Damage] = {
    "empty": lambda _: b"",
    "zeros": lambda _: bytes(512),
    "text": lambda _: b"hello\n",
    "list": lambda _: b"[]",
    "null": lambda _: b"null",
    "deep": lambda _: b"[" * 100_000,
    "nan": lambda _: b'{"schema": NaN}',
    "latin-1": lambda _: b'{"caf\xe9": 1}',
    # Half of a TOML file may be a TOML file: cut within a line.
    "cut": lambda old: old[: old.rindex(b" = ") + 3 if b" = " in old else len(old) // 2],
}
COMMANDS: dict[str, tuple[str, ...]] = {
    "report": ("report", "r"),
    "compare": ("compare", "r", "r"),
    "power": ("power", "r", "--mde", "1%"),
    "aa": ("aa", "r"),
    "resume": ("run", "--resume", "r", "--quiet"),
}


@pytest.fixture(scope="module")
def finished(small_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABTEST_CACHE", str(folder / "cache"))
        without_workers(patch)
        common = ["--users", "30", "--data", str(small_log), "--workers", "1", "--quiet"]
        code = run_cli(["run", "-t", "popular", "-c", "random", *common, "--out",
                        str(folder / "r")])  # fmt: skip
    assert code in (0, 4)
    return folder


@pytest.fixture
def copy(finished: Path, abtest: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run in the working directory, with the cache that it was made with."""
    shutil.copytree(finished / "r", tmp_path / "r")
    monkeypatch.setenv("ABTEST_CACHE", str(finished / "cache"))
    return tmp_path / "r"


def refused(result: Result, file: str) -> None:
    assert (result.code, result.out) == (3, ""), (result.code, result.err)
    said = result.err.splitlines()[-1]
    assert said.startswith("abtest: ") and file in said, said
    assert "Traceback" not in result.err
    assert "abtest run" in said


@pytest.mark.parametrize(
    ("file", "commands"),
    [
        ("plan.json", tuple(COMMANDS)),
        ("config.toml", tuple(COMMANDS)),
        ("results.json", ("report", "compare", "resume")),
        ("outcomes.parquet", ("power", "aa")),
    ],
)
def test_every_damage_of_a_file_is_named(
    abtest: Run, copy: Path, file: str, commands: tuple[str, ...]
) -> None:
    whole = (copy / file).read_bytes()
    for name, change in DAMAGES.items():
        (copy / file).write_bytes(change(whole))
        for command in commands if name == "cut" else commands[:1]:
            refused(abtest(*COMMANDS[command]), f"r/{file}")


CHANGES: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "no rows": lambda f: f.clear(),
    "no column": lambda f: f.drop("clicks"),
    "NaN": lambda f: f.with_columns(pl.lit(float("nan")).alias("clicks")),
    "text": lambda f: f.with_columns(pl.col("clicks").cast(pl.String)),
    "one value": lambda f: f.with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(-5).otherwise(pl.col("clicks")).alias("clicks")
    ),
    "another arm": lambda f: f.with_columns(pl.lit("popular").alias("arm")),
    "a row twice": lambda f: pl.concat([f, f.head(1)]),
    "other order": lambda f: f.reverse(),
}


@pytest.mark.parametrize("file", ["outcomes.parquet", "pieces/group-00000.parquet"])
def test_values_that_the_run_did_not_write_are_refused(abtest: Run, copy: Path, file: str) -> None:
    frame, whole = pl.read_parquet(copy / file), (copy / file).read_bytes()
    command = COMMANDS["power"]
    if file.startswith("pieces"):
        command = COMMANDS["resume"]
        for made in ("outcomes.parquet", "results.json", "report.html"):
            (copy / made).unlink()
    for change in CHANGES.values():
        # The old seal, over other values.
        metadata = {k: v for k, v in pl.read_parquet_metadata(copy / file).items()
                    if k.startswith("abtest")}  # fmt: skip
        change(frame).write_parquet(copy / file, metadata=metadata)
        refused(abtest(*command), f"r/{file}")
        (copy / file).write_bytes(whole)
    (copy / file).write_bytes(whole[: len(whole) // 2])
    refused(abtest(*command), f"r/{file}")
    (copy / file).write_bytes(whole)
    assert abtest(*command).code in (0, 4)
