"""List hostile tables of experiments: bytes, dialects, values and paths."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.hostile.cases import Case

_GOOD = "user_id,arm,revenue\n" + "".join(
    f"u{i},{'AB'[i % 2]},{(i * 37) % 11}.5\n" for i in range(60)
)
_ASKED = ("--metric", "revenue", "--control", "A", "--out", "out")
_WORDS = ("analyze", "t.csv", *_ASKED)

_WRONG_TEXTS: dict[str, bytes] = {
    "empty": b"",
    "header only": b"user_id,arm,revenue\n",
    "no arm": b"user_id,revenue\nu1,3\nu2,4\n",
    "one arm": b"user_id,arm,revenue\nu1,A,3\nu2,A,4\n",
    "text in numbers": _GOOD.replace("3.5", "lots", 1).encode(),
    "decimal comma": _GOOD.replace(".5\n", ',"5"\n', 1).encode(),
    "short row": (_GOOD + "u99,A\n").encode(),
    "long row": (_GOOD + "u99,A,1,2,3\n").encode(),
    "open quote": (_GOOD + '"u99,A,1\n').encode(),
    "zeros": b"\0" * 2_000,
    "infinity": _GOOD.replace("3.5", "inf", 1).encode(),
    "overflow": _GOOD.replace("3.5", "1e999", 1).encode(),
    "column twice": _GOOD.replace("user_id,arm,revenue", "user_id,arm,revenue,revenue").encode(),
    "column without name": _GOOD.replace("user_id,arm,revenue", "user_id,arm,").encode(),
    "gzip cut": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "parquet magic": b"PAR1 and nothing else",
    "three arms of one user": b"user_id,arm,revenue\nu1,A,3\nu1,B,4\nu1,C,5\nu2,A,1\nu3,B,1\n",
    "no metric": _GOOD.replace("revenue", "income").encode(),
    "all missing": "\n".join(
        line.rsplit(",", 1)[0] + "," if i else line for i, line in enumerate(_GOOD.splitlines())
    ).encode(),
}


_WRONG_NUMBERS = {
    "1e300": "{i}e300", "1e200": "{i}e200", "-1e31": "-{i}e31", "1e-300": "{i}e-300",
    "infinity": "inf", "hexadecimal": "0x{i}", "percent": "{i}%", "currency": "${i}",
    "decimal comma": '"{i},5"', "thousands": '"1,00{i}"', "true minus": "\u2212{i}",
    "two points": "1.2.{i}", "yes and no": "yes", "NA": "NA", "zero width": "\u200b{i}",
}  # fmt: skip
_WRONG_IDS = {
    "exponent": "1.234567890123{i}E+17", "lost digits": "900719925474099{i}.0",
    "fraction": "{i}.5", "NA": "NA", "NULL": "\\N", "empty": "",
}  # fmt: skip
_ALIKE = ("A ", "a", "\u00a0A", "\uff21", "A\u200b")


def _with(column: str, text: str) -> bytes:
    """A good table with another text in every cell of a column; ``{i}`` is a digit."""
    lines = ["user_id,arm,revenue"]
    for i in range(60):
        cells = {"user_id": f"u{i}", "arm": "AB"[i % 2], "revenue": f"{i * 37 % 11}.5"}
        cells[column] = text.replace("{i}", str(1 + i % 9))
        lines.append(",".join(cells.values()))
    return "\n".join(lines).encode()


def table_cases(seed: int = 1, damaged: int = 80) -> Iterator[Case]:
    """Tables that are wrong in a known way, tables with random bytes changed, odd paths."""
    for name, content in _WRONG_TEXTS.items():
        yield Case("tables", name, _WORDS, _file("t.csv", content))
    for name, text in _WRONG_NUMBERS.items():
        # Where every value has one, a decimal comma can be nothing else: it is read, and said.
        commas = name == "decimal comma"
        content = _with("revenue", text)
        yield Case("numbers", name, _WORDS, _file("t.csv", content), harmless=commas)
    for name, text in _WRONG_IDS.items():
        yield Case("ids", name, _WORDS, _file("t.csv", _with("user_id", text)))
    for name in _ALIKE:
        content = (_GOOD + "".join(f"v{i},{name},2\n" for i in range(30))).encode()
        yield Case("arms", repr(name), _WORDS, _file("t.csv", content))
        words = ("power", "t.csv", "--arm", "arm", "--control", "A", "--metric", "revenue")
        yield Case("arms", f"power {name!r}", words, _file("t.csv", content))
    draw = random.Random(seed)
    for number in range(damaged):
        changed = bytearray(_GOOD.encode())
        for _ in range(draw.randint(1, 6)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        yield Case(
            "random bytes", str(number), _WORDS, _file("t.csv", bytes(changed)), harmless=True,
        )  # fmt: skip
    for name, prepare, word in _paths():
        words = ("analyze", word, *_ASKED)
        yield Case("paths", name, words, prepare)
    for flags in (
        ("--metric", "x"), ("--metric", ""), ("--metric", "a=b/c"), ("--metric", "revenue=/"),
        ("--control", "C"), ("--day", "x"), ("--day", "revenue"), ("--stratum", "x"),
        ("--segment", "x"), ("--covariate", "revenue=x"), ("--user", "x"), ("--arm", "x"),
        ("--split", "A=1"), ("--split", "A=0,B=1"), ("--split", "A=x"), ("--guardrail", "revenue"),
        ("--confidence", "2"), ("--min-effect", "x"), ("--encoding", "x"), ("--no-such", "x"),
    ):  # fmt: skip
        yield Case(
            "analyze flags", " ".join(flags), (*_WORDS, *flags),
            _file("t.csv", _GOOD.encode()),
        )  # fmt: skip


def _file(name: str, content: bytes) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return prepare


def _paths() -> Iterator[tuple[str, Callable[[Path], None], str]]:
    def nothing(folder: Path) -> None:
        """Prepare nothing."""

    def loop(folder: Path) -> None:
        (folder / "loop").symlink_to("loop")

    def fifo(folder: Path) -> None:
        os.mkfifo(folder / "fifo")

    def directory(folder: Path) -> None:
        (folder / "d.csv").mkdir()

    def glob(folder: Path) -> None:
        (folder / "t1.csv").write_text(_GOOD, encoding="utf-8")

    def unreadable(folder: Path) -> None:
        (folder / "gone.csv").symlink_to("nowhere.csv")

    yield "missing", nothing, "none.csv"
    yield "too long", nothing, "x" * 300 + ".csv"
    yield "path too long", nothing, "/".join(["x" * 200] * 30)
    yield "control characters", nothing, "a\x1b[31m\n.csv"
    yield "not UTF-8", nothing, "\udcff.csv"
    yield "link loop", loop, "loop"
    yield "FIFO", fifo, "fifo"
    yield "directory", directory, "d.csv"
    yield "glob characters", glob, "t[1].csv"
    yield "dangling link", unreadable, "gone.csv"
    yield "/dev/null", nothing, "/dev/null"
    yield "/proc/self/mem", nothing, "/proc/self/mem"
    yield "empty word", nothing, ""
