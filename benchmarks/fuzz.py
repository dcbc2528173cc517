"""Try damaged files on the readers: each ends well or in an error that says what is wrong.

    python -m benchmarks.fuzz                             every reader, 60 s each
    python -m benchmarks.fuzz --target csv --seconds 600
    python -m benchmarks.fuzz --engine hypothesis         without atheris

With atheris (`pip install atheris`; it is no dependency) coverage guides the damage; without it
hypothesis draws it. Prints the number of files tried per reader. A reader that raises anything but
an error of ours ends the command with the file's bytes and exit code 1.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from numpy.typing import NDArray

from abtest.config_sources import load_config
from abtest.errors import describe_error
from abtest.experiment_tables.users import open_users
from policies.checkpoint import ARRAYS, HEADER, load_arrays, save_arrays
from reports.render.markdown import render_markdown
from reports.results import ExperimentResult
from reports.users.files import Columns
from simulator.logs.info import read_info

INSTRUMENTED = ("simulator.tables", "simulator.logs.info", "reports", "abtest.config", "tomllib",
                "abtest.experiment_tables", "policies.checkpoint", "benchmarks.fuzz")  # fmt: skip
ABOUT = {"settings": 1}
EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "twin" / "results.json"
TOKENS = (
    b"NaN", b"null", b"-1", b"1e999", b"99999999999999999999", b"true", b'"', b"\\u0000", b"\x00",
    b"\xff", b"[" * 400, b"{}", b",", b";", b"\t", b"\r", b"\n", b"1,5", b"0x1", b"\xef\xbb\xbf",
)  # fmt: skip


def read_csv(folder: Path, data: bytes) -> None:
    """As `abtest analyze` does."""
    path = folder / "users.csv"
    path.write_bytes(data)
    columns = Columns(user="user", arm="arm", outcomes=("x",))
    open_users([path]).read(columns, control="A")


def read_config(folder: Path, data: bytes) -> None:
    """As every command with ``--config`` does."""
    path = folder / "abtest.toml"
    path.write_bytes(data)
    load_config({}, file=path, environment={})


def read_dataset(folder: Path, data: bytes) -> None:
    """The description of a dataset, as every command with ``--data`` does."""
    path = folder / "dataset.json"
    path.write_bytes(data)
    read_info(path)


def read_results(folder: Path, data: bytes) -> None:
    """As `abtest report` does."""
    render_markdown(ExperimentResult.from_json(data.decode("utf-8", "replace")))


def read_weights(folder: Path, data: bytes) -> None:
    """As every command that uses trained weights does."""
    if not (folder / HEADER).exists():
        save_arrays(folder, {"none": np.zeros(0)}, ABOUT)
    (folder / ARRAYS).write_bytes(data)
    load_arrays(folder, ABOUT)


@dataclass(frozen=True)
class Target:
    """A reader, and files that it reads."""

    read: Callable[[Path, bytes], None]
    seeds: tuple[bytes, ...]


def targets() -> dict[str, Target]:
    """Every reader by name."""
    weights: dict[str, NDArray[Any]] = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.ones(4, dtype=np.int64),
    }
    with tempfile.TemporaryDirectory() as folder:
        save_arrays(Path(folder), weights, ABOUT)
        saved = (Path(folder) / ARRAYS).read_bytes()
    european = "".join(f"{i};{'AB'[i % 2]};{i},5\n" for i in range(6))
    rows = "".join(f"{i},{'AB'[i % 2]},{i * 0.5}\n" for i in range(6))
    return {
        "csv": Target(
            read_csv,
            (
                f"user,arm,x\n{rows}".encode(),
                f'user;arm;x\n"9";"A\nA";"1,5"\n{european}'.encode(),
                f"user\tarm\tx\r\n{rows}".replace(",", "\t").encode("utf-16"),
            ),
        ),
        "config": Target(
            read_config,
            (b'treatment = ["sasrec"]\ncontrol = "popular"\nusers = 64\ndays = 2\nseed = 1\n'
             b'guardrail = ["hates=-1%"]\n[policies.sasrec]\nepochs = 3\n',),
        ),
        "dataset.json": Target(read_dataset, (_dataset_json(),)),
        "results.json": Target(read_results, (EXAMPLE.read_bytes(),)),
        "weights": Target(read_weights, (saved,)),
    }  # fmt: skip


def _dataset_json() -> bytes:
    import polars as pl

    from simulator.logs.dataset import DatasetWriter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with DatasetWriter(path, name="log", source="fuzz", licence="none") as writer:
            writer.append("users", pl.DataFrame({"user_id": [1, 2]}))
        return (path / "dataset.json").read_bytes()


def check(target: Target, folder: Path, data: bytes) -> str:
    """Read one file; "read" or the class of the error that refused it.

    Raises:
        BaseException: whatever is no error of ours: a fault.
    """
    try:
        target.read(folder, data)
    except Exception as error:
        if describe_error(error) is None:
            raise
        return type(error).__name__
    return "read"


Change = tuple[str, float, int, bytes]
changes: st.SearchStrategy[list[Change]] = st.lists(
    st.tuples(
        st.sampled_from(["put", "over", "cut", "twice", "bit", "end"]),
        st.floats(0.0, 1.0),
        st.integers(0, 64),
        st.sampled_from(TOKENS) | st.binary(max_size=8),
    ),
    min_size=1,
    max_size=6,
)


def damaged(data: bytes, how: list[Change]) -> bytes:
    """The bytes after some changes: places are shares of the length."""
    for kind, share, size, token in how:
        at = int(share * len(data))
        head, tail = data[:at], data[at:]
        if kind == "put":
            data = head + token + tail
        elif kind == "over":
            data = head + token + tail[len(token) :]
        elif kind == "cut":
            data = head + tail[size:]
        elif kind == "twice":
            data = head + tail[:size] * 2 + tail[size:]
        elif kind == "bit" and tail:
            data = head + bytes([tail[0] ^ (1 << size % 8)]) + tail[1:]
        elif kind == "end":
            data = head
    return data


@dataclass
class _Counts:
    tried: int = 0
    ends: dict[str, int] = field(default_factory=dict)

    def add(self, end: str) -> None:
        self.tried += 1
        self.ends[end] = self.ends.get(end, 0) + 1


def by_hypothesis(name: str, seconds: float, number: int) -> None:
    """Try damaged files for a time; prints how many, and how they ended."""
    target, counts = targets()[name], _Counts()
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < deadline:
            _some(target, Path(folder), counts, deadline, number)
            number += 1
    said = ", ".join(f"{end} {count:,}" for end, count in sorted(counts.ends.items()))
    print(f"{name}: {counts.tried:,} files ({said}); nothing unexpected", flush=True)


def _some(target: Target, folder: Path, counts: _Counts, deadline: float, number: int) -> None:
    @seed(number)
    @settings(
        max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(target.seeds), changes)
    def some(data: bytes, how: list[Change]) -> None:
        if time.monotonic() < deadline:
            counts.add(check(target, folder, damaged(data, how)))

    some()


def _functions() -> list[FunctionType]:
    """Functions and methods of the readers, whose branches guide atheris."""
    modules = [m for n, m in sys.modules.items() if n.startswith(INSTRUMENTED)]
    places = [
        p for m in modules for p in (m, *(k for k in vars(m).values() if isinstance(k, type)))
    ]
    found = [f for p in places for f in vars(p).values() if isinstance(f, FunctionType)]
    return [f for f in dict.fromkeys(found) if f.__module__.startswith(INSTRUMENTED)]


def by_atheris(name: str, seconds: float, number: int) -> None:
    """The same, guided by coverage. Does not return: libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    target = targets()[name]
    place = Path(tempfile.mkdtemp(prefix="abtest-fuzz-"))
    (corpus := place / "corpus").mkdir()
    for data in target.seeds:
        (corpus / f"{zlib.crc32(data):08x}").write_bytes(data)
    for function in _functions():
        with contextlib.suppress(Exception):
            # Some code cannot be instrumented; it runs as it is.
            atheris.instrument_func(function)
    arguments = [sys.argv[0], str(corpus), f"-max_total_time={int(seconds)}", f"-seed={number}",
                 "-max_len=65536", f"-artifact_prefix={place}/"]  # fmt: skip
    atheris.Setup(arguments, lambda data: check(target, place, data))
    atheris.Fuzz()


def main() -> None:
    """Fuzz one reader in this process, or each in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", choices=[*targets()])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    there = importlib.util.find_spec("atheris") is not None
    parser.add_argument("--engine", choices=["atheris", "hypothesis"],
                        default="atheris" if there else "hypothesis")  # fmt: skip
    asked = parser.parse_args()
    if asked.target is not None:
        (by_atheris if asked.engine == "atheris" else by_hypothesis)(
            asked.target, asked.seconds, asked.seed
        )
        return
    failed = []
    for name in targets():
        words = ["--target", name, "--engine", asked.engine]
        words += ["--seconds", str(asked.seconds), "--seed", str(asked.seed)]
        print(f"{name}, {asked.engine}:", flush=True)
        if subprocess.run(
            [sys.executable, "-m", "benchmarks.fuzz", *words], check=False
        ).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all readers held")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
