"""Write files and directories whole or not at all, also with other processes about.

What is written stands under a temporary name of its own until it is complete and on the disk, and
is then renamed: readers never see half of it, and a power cut leaves the old or the new. Processes
that would make the same thing wait for each other (`locked`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from abtest.errors import RunDataError, says_full


def temporary_name(path: Path) -> Path:
    """A hidden name beside ``path`` that no other process has, as short as can be."""
    return path.with_name(f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(3)}.tmp")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; whole or not at all."""
    with _whole(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8; whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a Parquet file with a seal, a hash of its values; whole or not at all."""
    with _whole(path) as temporary:
        frame.write_parquet(
            temporary, compression="zstd", statistics=False, metadata={_SEAL: _hash(frame)}
        )
        _sync(temporary)


def read_parquet(path: Path, hint: str) -> pl.DataFrame:
    """Read what `write_parquet` wrote.

    Args:
        path: The file.
        hint: What to do if it is damaged.

    Raises:
        RunDataError: it cannot be read, or holds other values than were written.
    """
    try:
        frame = pl.read_parquet(path, glob=False)
        seal = pl.read_parquet_metadata(path).get(_SEAL)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunDataError(f"{path} is damaged: {error}.", hint) from None
    if seal != _hash(frame):
        raise RunDataError(f"{path} is damaged: it is not what was written.", hint)
    return frame


def _hash(frame: pl.DataFrame) -> str:
    """Of names, types and values, however they are stored."""
    digest = hashlib.blake2b(digest_size=16)
    for column in frame:
        digest.update(f"{column.name}\0{column.dtype}\0{len(column)}\0".encode())
        digest.update(column.is_null().to_numpy().tobytes())
        if column.dtype.is_numeric():
            digest.update(column.fill_null(0).to_numpy().tobytes())
        else:
            texts = column.cast(pl.String).fill_null("")
            digest.update("\0".join(texts.to_list()).encode())
    return digest.hexdigest()


_SEAL = "abtest.hash"


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Fill a temporary file that becomes ``path``; errors of the disk name ``path``."""
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        number = errno.ENOSPC if says_full(error) else getattr(error, "errno", None)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    _sync(path.parent)


def existing_parent(path: Path) -> Path:
    """The nearest folder above a path that is there."""
    parent = path.absolute().parent
    while not parent.exists() and not parent.is_symlink():
        parent = parent.parent
    return parent


def can_hold(folder: Path) -> bool:
    """Whether something can be made in a folder; tried, as permissions do not tell (``/proc``)."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return False
    trial = temporary_name(folder / "trial")
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Fill a directory that appears when the block ends, or not at all if it raises.

    Yields a temporary directory. If another process has made ``path`` meanwhile, that one stays
    and this one is dropped. What killed processes have left of ``path`` is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in _leftovers(path.parent, path.name):
        if _abandoned(left):
            shutil.rmtree(left, ignore_errors=True)
    temporary = temporary_name(path)
    temporary.mkdir()
    handle = os.open(temporary, os.O_RDONLY)
    try:
        # Ends with this process, however that ends: see `_abandoned`.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
        publish_directory(temporary, path)
    finally:
        os.close(handle)
        shutil.rmtree(temporary, ignore_errors=True)


def _abandoned(left: Path) -> bool:
    """Whether a temporary directory belongs to no process, here or on another machine."""
    found = _TEMPORARY.search(left.name)
    assert found is not None, "only of temporary names"
    with contextlib.suppress(ProcessLookupError, PermissionError, OverflowError):
        os.kill(int(found["process"]), 0)
        return False
    try:
        handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def publish_directory(temporary: Path, path: Path) -> None:
    """Rename a finished directory, once its bytes are on the disk; an existing one stays."""
    for folder, _, names in os.walk(temporary):
        for name in names:
            _sync(Path(folder) / name)
        _sync(Path(folder))
    try:
        temporary.rename(path)
    except OSError:
        if not path.is_dir():
            raise
    _sync(path.parent)


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of ``path``, so that only one process makes it at a time.

    The lock ends with the process that holds it, however that ends. Where the file system has no
    locks, nothing is locked: both processes do the work, and the first result stays.

    Args:
        path: What is to be made.
        waiting: Called once if another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name[:100]}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass
        remove_leftovers(path.parent, path.name)
        yield


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Remove what processes that were killed left of ``name``, or of anything, in a directory.

    Only for whoever holds the lock: nobody else may be writing there.
    """
    for left in _leftovers(folder, name):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _leftovers(folder: Path, name: str) -> list[Path]:
    """Temporary names of ``name``, or of anything, in a directory."""
    start = re.escape(f".{name[:100]}") if name else r"\..*"
    ours = re.compile(start + _TEMPORARY.pattern, re.DOTALL)
    return [left for left in list(folder.iterdir()) if ours.match(left.name)]


_TEMPORARY = re.compile(r"\.(?P<process>\d+)-[0-9a-f]{6}\.tmp$")


def _sync(path: Path) -> None:
    """Bring a file's or a directory's bytes to the disk, as far as the file system can."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        # EINVAL and friends: a file system that cannot; anything else is a failing disk.
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(handle)


_CANNOT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
