"""Kill commands at random moments, go on, and compare the bytes with those of an undisturbed run.

    python -m benchmarks.faults                           20 moments of every command
    python -m benchmarks.faults --moments 2 --only import

Every second moment is SIGKILL to the command alone, the others are SIGTERM. Afterwards the command
is given again (`abtest run --resume` where a run directory is there), and once more from the start
of a new moment while it is not complete. Checked: the same bytes, no leftovers, and no worker left
two seconds after the kill. The exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from abtest.tables import table

GRACE_SECONDS = 2.0
_SMALL = ("--world", "small", "--log-users", "150", "--quiet")


@dataclass(frozen=True)
class Command:
    """A command that is killed.

    Attributes:
        name: What it does, for the table.
        words: After ``abtest``.
        again: Words that go on, where ``again_if`` is there.
        again_if: A path in the working directory.
        results: Files and directories whose bytes must be the same.
    """

    name: str
    words: tuple[str, ...]
    results: tuple[str, ...]
    again: tuple[str, ...] = ()
    again_if: str = ""


COMMANDS = (
    Command(
        "train, simulate, analyse",
        ("run", "-t", "gru4rec", "-c", "popular", *_SMALL, "--config", "c.toml", "--users", "600",
         "--workers", "2", "--out", "r"),
        ("r/outcomes.parquet", "r/results.json"),
        ("run", "--resume", "r", "--workers", "2", "--quiet"),
        "r/plan.json",
    ),
    Command(
        "simulate with a log",
        ("run", "-t", "popular", "-c", "random", *_SMALL, "--users", "600", "--workers", "2",
         "--keep-log", "--out", "r"),
        ("r/outcomes.parquet", "r/results.json", "r/log"),
        ("run", "--resume", "r", "--workers", "2", "--quiet"),
        "r/plan.json",
    ),
    Command(
        "write a log", ("data", "synth", "log", "--world", "small", "--users", "400", "--force"),
        ("log",),
    ),
    Command("import", ("data", "import", "csv", "log", "--force"), ("log",)),
)  # fmt: skip


@dataclass
class Tally:
    """What the moments of one command came to."""

    killed: int = 0
    too_late: int = 0
    problems: list[str] = field(default_factory=list)


def main() -> None:
    """Run every command once undisturbed, then kill it at random moments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="words of the names of commands")
    options = parser.parse_args()
    rows, failed = [], []
    for command in COMMANDS:
        if options.only and not any(word in command.name for word in options.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            tally = tried(command, Path(folder), options.moments, options.seed, _say)
        rows.append(
            [command.name, str(tally.killed), str(tally.too_late), str(len(tally.problems))]
        )
        failed += [f"{command.name}: {problem}" for problem in tally.problems]
    print(table(rows, header=["command", "killed", "had ended", "problems"], right=(1, 2, 3)))
    print("\n".join(failed))
    sys.exit(1 if failed else 0)


def tried(
    command: Command, base: Path, moments: int, seed: int, say: Callable[[str], None]
) -> Tally:
    """Kill a command at so many moments, drawn uniformly over its duration.

    Args:
        command: What is killed.
        base: An empty directory.
        moments: Number of kills.
        seed: Of the moments.
        say: Told about every moment.
    """
    draw = random.Random(seed)
    reference, seconds = base / "reference", 0.0
    _prepare(reference)
    started = time.monotonic()
    done = _start(command.words, reference)
    if done.wait() != 0:
        raise SystemExit(f"abtest {' '.join(command.words)} ended with {done.returncode}")
    seconds = time.monotonic() - started
    expected = _digests(reference, command.results)
    tally = Tally()
    for number in range(moments):
        folder = base / f"moment-{number}"
        _prepare(folder)
        after = draw.uniform(0.0, seconds)
        how = signal.SIGKILL if number % 2 else signal.SIGTERM
        killed = _killed(command.words, folder, after, how, tally)
        tally.killed += killed
        tally.too_late += not killed
        problem = _completed(command, folder)
        if not problem and _digests(folder, command.results) != expected:
            problem = "other bytes"
        left = [str(path.relative_to(folder)) for path in folder.rglob(".*.tmp")]
        if not problem and left:
            problem = f"left {left[0]}"
        if problem:
            tally.problems.append(f"{how.name} after {after:.2f} s: {problem}")
        say(f"{command.name}: {how.name} after {after:.2f} of {seconds:.1f} s: {problem or 'same'}")
        shutil.rmtree(folder)
    return tally


def _prepare(folder: Path) -> None:
    """A folder with its own cache, a configuration and a log to import."""
    folder.mkdir()
    (folder / "c.toml").write_text("[policies.gru4rec]\nepochs = 3\nepoch_steps = 20\n", "utf-8")
    logs = folder / "csv"
    logs.mkdir()
    header = (
        "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
        "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
        "is_profile_enter,is_rand,tab\n"
    )
    draw = random.Random(7)
    lines = []
    for number in range(60_000):
        play, duration = draw.randrange(60_000), 1_000 + draw.randrange(90_000)
        labels = [draw.random() < 0.4, *[draw.random() < 0.02 for _ in range(5)], False]
        text = ",".join(str(int(label)) for label in labels)
        lines.append(
            f"{number // 200},{draw.randrange(900)},20220421,{100 + number % 1300:04d},"
            f"{1650470400000 + number * 1000},{text},{play},{duration},0,0,0,0,1"
        )
    name = "log_standard_4_08_to_4_21_1k.csv"
    (logs / name).write_text(header + "\n".join(lines) + "\n", encoding="utf-8")


def _start(words: tuple[str, ...], folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "ABTEST_CACHE": str(folder / "cache"), "FAULTS": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "abtest", *words], cwd=folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=(folder / "stderr.txt").open("ab"),
    )  # fmt: skip


def _killed(
    words: tuple[str, ...], folder: Path, after: float, how: signal.Signals, tally: Tally
) -> bool:
    """Start a command, kill it after some seconds; whether it was still running."""
    process = _start(words, folder)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(how)
        process.wait()
        deadline = time.monotonic() + GRACE_SECONDS
        while _workers(folder) and time.monotonic() < deadline:
            time.sleep(0.1)
        left = _workers(folder)
        if left:
            names = "; ".join(filter(None, map(_named, left))) or "ended since"
            tally.problems.append(f"{how.name} after {after:.2f} s: workers go on: {names}")
        return True
    return False


def _workers(folder: Path) -> list[int]:
    """Processes that were started for a folder and still run."""
    mark = f"FAULTS={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                if state != "Z" and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _named(process: int) -> str:
    """The command line of a process, or nothing if it is no more."""
    try:
        line = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
    return f"{process} {line[-80:].strip()}"


def _completed(command: Command, folder: Path) -> str:
    """Give the command again; what went wrong, or nothing."""
    words = command.words
    if command.again_if and (folder / command.again_if).is_file():
        words = command.again
    code = _start(words, folder).wait()
    if code == 0:
        return ""
    said = (folder / "stderr.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    return f"exit code {code}: {said[-1] if said else ''}"


def _digests(folder: Path, results: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of every file of the results."""
    found = {}
    for name in results:
        path = folder / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and not file.name.startswith("."):
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                found[str(file.relative_to(folder))] = digest
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
