"""A run's finished files are copied as they come, and the copy is the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from abtest.errors import UsageError
from abtest.results.mirror import Mirror, MirrorError
from tests.abtest.conftest import Result

Run = Callable[..., Result]
ASKED = ("run", "-t", "popular", "-c", "random", "--workers", "1", "--users", 60, "--out", "r")


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """A file system that is no directory of this machine."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()


def made(folder: Path, plan: str = '{"a": 1}') -> Path:
    (folder / "pieces").mkdir(parents=True)
    for name in ("plan.json", "pieces/0.parquet", "results.json", "report.html", "run.log"):
        (folder / name).write_text(name)
    (folder / "plan.json").write_text(plan)
    (folder / "pieces" / ".1.parquet.77-abcdef.tmp").write_text("half")
    return folder


def test_what_is_finished_is_copied_and_what_is_not_stays(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    folder, mirror = made(tmp_path / "r"), Mirror("memory://bucket/a")
    mirror.update(folder)
    there = {name.removeprefix("/bucket/a/") for name in memory.find("/bucket/a")}
    assert there == {"plan.json", "pieces/0.parquet", "results.json", "report.html"}
    mirror.update(folder, final=True)
    assert memory.cat_file("/bucket/a/run.log") == b"run.log"
    assert not memory.glob("/bucket/a/pieces/.*")


def test_results_come_last_and_nothing_is_copied_twice(
    memory: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mirror, order = made(tmp_path / "r"), Mirror("memory://bucket/a"), list[str]()
    copy = Mirror._copy

    def noted(self: Mirror, path: Path, target: str) -> None:
        order.append(path.name)
        copy(self, path, target)

    monkeypatch.setattr(Mirror, "_copy", noted)
    mirror.update(folder)
    assert order == ["0.parquet", "plan.json", "report.html", "results.json"]
    mirror.update(folder)
    assert len(order) == 4
    (folder / "report.html").write_text("another report")
    mirror.update(folder)
    assert order[4:] == ["report.html"]
    assert memory.cat_file("/bucket/a/report.html") == b"another report"


def test_another_run_is_not_overwritten(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    first, second = made(tmp_path / "a"), made(tmp_path / "b", '{"a": 2}')
    mirror = Mirror("memory://bucket/a")
    mirror.check(None)
    mirror.update(first)
    mirror.check(first)
    for other in (second, None):
        with pytest.raises(UsageError, match="holds another run"):
            Mirror("memory://bucket/a").check(other)


def test_a_place_that_cannot_be_is_said_before_anything_runs(tmp_path: Path) -> None:
    for url in ("nothing://bucket/a", str(made(tmp_path / "r") / "plan.json" / "below")):
        with pytest.raises(UsageError, match="cannot write to --mirror"):
            Mirror(url)


def test_a_copy_that_fails_names_the_file_and_how_to_go_on(
    memory: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror("memory://bucket/a")

    def full(*arguments: object) -> None:
        raise OSError("quota exceeded.")

    monkeypatch.setattr(mirror._fs, "put_file", full)
    with pytest.raises(
        MirrorError, match=r"0\.parquet to memory://bucket/a: quota exceeded\. The run itself"
    ):
        mirror.update(made(tmp_path / "r"))


def test_a_run_and_its_copy_are_the_same_files(
    abtest: Run, small_log: Path, tmp_path: Path
) -> None:
    data = ("--data", small_log)
    ended = abtest(*ASKED, *data, "--mirror", "copy/of/it")
    assert ended.code in (0, 4), ended.err
    own, copied = tmp_path / "r", tmp_path / "copy" / "of" / "it"
    files = sorted(p.relative_to(own) for p in own.rglob("*") if p.is_file())
    names = [name for name in files if not name.name.startswith(".")]
    assert names == sorted(p.relative_to(copied) for p in copied.rglob("*") if p.is_file())
    for name in names:
        if name.name != "run.log":
            assert (copied / name).read_bytes() == (own / name).read_bytes()
    again = abtest("run", "--resume", "r", "--mirror", "late")
    assert again.code in (0, 4) and (tmp_path / "late" / "results.json").is_file()
    other = abtest(*ASKED[:-1], "other", *data, "--mirror", "copy/of/it")
    assert other.code == 2 and "holds another run" in other.err
    assert not (tmp_path / "other").exists()
