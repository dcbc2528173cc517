"""Copy the files of a run to a directory or a URL as they are finished, through fsspec."""

from __future__ import annotations

import json
from pathlib import Path

from abtest.errors import AbtestError, ExitCode, UsageError

_LATE = ("run.log", "timings.json")
"""They grow with every stage, and are copied once, at the end."""
_LAST = ("results.json", "report.html")
"""Whoever waits for one of them finds all the others."""


class MirrorError(AbtestError):
    """The run is whole where it was made, and its copy is not."""

    code = ExitCode.RESOURCES


class Mirror:
    """A copy of one run directory.

    Args:
        url: A directory, or any URL that fsspec knows: ``s3://bucket/runs/a``, ``gs://…``.

    Raises:
        UsageError: fsspec has no such protocol, or the place cannot be reached.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
            self._fs.makedirs(self._root, exist_ok=True)
        except Exception as error:  # every protocol has errors of its own
            raise UsageError(
                f"cannot write to --mirror {url}: {_said(error)}.", "Nothing was run"
            ) from None
        self._sent: dict[str, tuple[int, int]] = {}

    def check(self, folder: Path | None) -> None:
        """Refuse a place that holds another run.

        Args:
            folder: The directory of a run that goes on; None for one that is new.

        Raises:
            UsageError: the place has the plan of another run.
        """
        there = f"{self._root}/plan.json"
        if not self._fs.exists(there):
            return
        try:
            own = None if folder is None else json.loads((folder / "plan.json").read_bytes())
            same = json.loads(self._fs.cat_file(there)) == own
        except (ValueError, RecursionError):
            same = False
        if not same:
            raise UsageError(f"--mirror {self.url} holds another run.", "Choose another place")

    def update(self, folder: Path, *, final: bool = False) -> None:
        """Copy what is new or changed; hidden files are not finished and stay.

        Args:
            folder: The run directory.
            final: Whether the run has ended.

        Raises:
            MirrorError: something could not be copied.
        """
        for path in sorted(folder.rglob("*"), key=lambda path: (path.name in _LAST, path)):
            name = path.relative_to(folder).as_posix()
            if not path.is_file() or any(part.startswith(".") for part in name.split("/")):
                continue
            if name in _LATE and not final:
                continue
            state = path.stat()
            known = (state.st_size, state.st_mtime_ns)
            if self._sent.get(name) == known:
                continue
            self._copy(path, f"{self._root}/{name}")
            self._sent[name] = known

    def _copy(self, path: Path, target: str) -> None:
        try:
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(path), target)
        except Exception as error:  # every protocol has errors of its own
            raise MirrorError(
                f"could not copy {path} to {self.url}: {_said(error)}.",
                "The run itself is whole so far; go on, and copy everything: "
                f"abtest run --resume RUN --mirror {self.url}",
            ) from None


def _said(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def copy_finished(folder: Path, url: str | None) -> None:
    """Copy the directory of a run that has ended, where a copy is asked for.

    Raises:
        UsageError, MirrorError: see `Mirror`.
    """
    copy = mirror_of(url)
    if copy is not None:
        copy.check(folder)
        copy.update(folder, final=True)


def mirror_of(url: str | None) -> Mirror | None:
    """A mirror, where one is asked for."""
    return None if url is None else Mirror(url)
