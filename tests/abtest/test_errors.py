"""Every error of the system has an exit code and a sentence that names the file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import polars as pl
import pytest

from abtest import files
from abtest.errors import ExitCode, describe_error, out_of_memory


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, ExitCode.RESOURCES),
        (errno.EDQUOT, ExitCode.RESOURCES),
        (errno.EIO, ExitCode.RESOURCES),
        (errno.EMFILE, ExitCode.RESOURCES),
        (errno.EROFS, ExitCode.USAGE),
        (errno.ELOOP, ExitCode.USAGE),
        (errno.ENAMETOOLONG, ExitCode.USAGE),
        (errno.EACCES, ExitCode.USAGE),
    ],
)
def test_an_error_of_the_file_system_names_the_file(number: int, code: ExitCode) -> None:
    found = describe_error(OSError(number, os.strerror(number), "/logs/small"))
    assert found is not None
    assert found[0] is code
    assert "/logs/small" in found[1]


def test_a_name_cannot_write_on_the_terminal() -> None:
    found = describe_error(OSError(errno.EACCES, "denied", "a\x1b[31m\udc80" + "x" * 5_000))
    assert found is not None
    assert found[1].isprintable()
    assert len(found[1]) < 200


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc.cpp] DefaultCPUAllocator: can't allocate memory: you"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
    ],
)
def test_want_of_memory_is_known_in_every_librarys_words(error: BaseException) -> None:
    found = describe_error(error)
    assert found is not None
    assert found[0] is ExitCode.RESOURCES
    assert "out of memory" in found[1]


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    assert not out_of_memory(RuntimeError("sizes of tensors must match"))
    assert not out_of_memory(ValueError("can't allocate memory"))
    assert describe_error(RuntimeError("sizes of tensors must match")) is None


def test_a_full_disk_is_named_with_the_file_that_was_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = pl.exceptions.ComputeError("parquet: No space left on device (os error 28)")

    def write_parquet(self: pl.DataFrame, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise full

    monkeypatch.setattr(pl.DataFrame, "write_parquet", write_parquet)
    target = tmp_path / "outcomes.parquet"
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_parquet(pl.DataFrame({"a": [1]}), target)
    found = describe_error(caught.value)
    assert found is not None
    assert found[0] == ExitCode.RESOURCES
    assert found[1].startswith(f"no space left on the disk of {target}. Free some")
    assert found[1].endswith("abtest run --resume RUN")
    assert list(tmp_path.iterdir()) == []
