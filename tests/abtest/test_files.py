"""Files and directories appear whole or not at all, whoever else is writing."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from abtest.files import (
    locked,
    new_directory,
    remove_leftovers,
    temporary_name,
    write_parquet,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "eins")
    write_text(tmp_path / "a.txt", "zwei ü")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "zwei ü"
    write_parquet(pl.DataFrame({"x": [1]}), tmp_path / "b.parquet")
    assert pl.read_parquet(tmp_path / "b.parquet")["x"].to_list() == [1]
    assert names(tmp_path) == ["a.txt", "b.parquet"]


def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "\ud800")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "a.txt", "after")
    with pytest.raises(OSError, match="No space"):
        write_parquet(pl.DataFrame({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(OSError, match="No space"), new_directory(tmp_path / "made") as folder:
        (folder / "x").write_text("x")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_a_directory_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "made"
    with new_directory(target) as folder:
        (folder / "x").write_text("mine")
        assert not target.exists()
    assert (target / "x").read_text() == "mine"
    # Somebody else was first: theirs stays.
    with new_directory(target) as folder:
        (folder / "x").write_text("late")
    assert (target / "x").read_text() == "mine"
    with pytest.raises(KeyError), new_directory(tmp_path / "other") as folder:
        (folder / "x").write_text("x")
        raise KeyError
    assert names(tmp_path) == ["deep"] and names(target.parent) == ["made"]


def test_temporary_names_are_ones_own(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 250)
    many = {temporary_name(long) for _ in range(100)}
    assert len(many) > 90
    for name in many:
        name.write_text("short enough")
    remove_leftovers(tmp_path, long.name)
    assert names(tmp_path) == []


def test_one_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / "thing", lambda: order.append("waits")):
            order.append("second")

    with locked(tmp_path / "thing"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["waits", "first", "second"]


def test_a_killed_process_holds_no_lock_and_its_leftovers_go(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from abtest.files import locked, temporary_name\n"
        "with locked(Path(sys.argv[1])):\n"
        "    temporary_name(Path(sys.argv[1])).mkdir()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "[x]")], check=False)
    assert done.returncode == -9
    (tmp_path / ".other.txt.1-abcdef.tmp").write_text("another's")
    (tmp_path / ".[x]-2.1-abcdef.tmp").write_text("another's, whose name begins like it")
    assert len(names(tmp_path)) == 4
    with locked(tmp_path / "[x]"):
        assert names(tmp_path) == [".[x]-2.1-abcdef.tmp", ".[x].lock", ".other.txt.1-abcdef.tmp"]


_HALF_MADE = """
import os, signal, sys
from pathlib import Path
from abtest.files import new_directory
with new_directory(Path(sys.argv[1])) as folder:
    (folder / "half").touch()
    print(folder, flush=True)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_of_a_directory_goes_with_the_next_attempt(
    tmp_path: Path,
) -> None:
    words = [sys.executable, "-c", _HALF_MADE, str(tmp_path / "run"), "die"]
    subprocess.run(words, check=False, capture_output=True)
    other = tmp_path / ".run-2.999999999-abcdef.tmp"
    other.mkdir()
    assert len(names(tmp_path)) == 2
    with new_directory(tmp_path / "run") as folder:
        (folder / "x").touch()
    assert names(tmp_path) == [other.name, "run"]


def test_what_others_are_making_stays(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _HALF_MADE, str(tmp_path / "run"), "wait"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as here:
        assert here.stdout is not None and here.stdin is not None
        theirs = Path(here.stdout.readline().strip())
        # Another machine's process has a number that nobody has here; its lock tells.
        elsewhere = tmp_path / ".run.999999999-abcdef.tmp"
        elsewhere.mkdir()
        handle = os.open(elsewhere, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with new_directory(tmp_path / "run"):
            assert (theirs / "half").exists() and elsewhere.exists()
        os.close(handle)
        here.stdin.close()
        here.wait()
    assert (tmp_path / "run").is_dir() and not theirs.exists()
