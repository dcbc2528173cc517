"""Under a limit of memory every end is a message and exit code 6, or what the command says."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from abtest.processes import killed_before_others
from abtest.replay.sizing import memory_to_replay
from abtest.replay.training import cut_time
from abtest.run.engines import Job, LocalEngine
from simulator import memory
from simulator.logs import interactions
from simulator.logs.dataset import Dataset, DatasetWriter
from tests.abtest.conftest import Result

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, resource, signal, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
import abtest.__main__ as start
def work():
    {body}
start._run = work
start.main()
"""


def started(body: str, limit: int = 2_000_000_000) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body, limit=limit)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        "os.abort()",  # as Rust does
        "os._exit(1)",  # as OpenBLAS does
        "raise MemoryError",
        "bytearray(10**10)",
        "raise ImportError('x.so: failed to map segment from shared object')",
        "os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
def test_whatever_ends_a_process_without_memory_is_said(body: str) -> None:
    ended = started(body)
    assert ended.returncode == 6
    assert ended.stderr == (
        "abtest: out of memory. This process may use 2.0 GB (ulimit -v). "
        "Allow more, or use fewer --workers or fewer --users\n"
    )


def test_what_the_command_says_is_kept() -> None:
    for code in (0, 3, 130):
        assert started(f"print('done'); return {code}").returncode == code
    bug = started("raise ValueError('ours')")
    assert bug.returncode == 1
    assert "ValueError: ours" in bug.stderr and "out of memory" not in bug.stderr
    assert started("os.kill(os.getppid(), signal.SIGTERM); signal.pause()").returncode == (
        -signal.SIGTERM
    )


def test_too_little_to_start_is_said_before_anything_is_loaded() -> None:
    ended = started("raise AssertionError", limit=400_000_000)
    assert ended.returncode == 6
    assert "Starting takes 1.5 GB. This process may use 0.4 GB (ulimit -v)" in ended.stderr
    assert ended.stderr.count("\n") == 1


GROUP = """
import os, resource, signal, sys
import abtest.__main__ as start
kills = iter({kills})
start.group_limit = lambda: 500_000_000
start.out_of_memory_kills = lambda: next(kills)
def work():
    {body}
start._run = work
start.main()
"""


@pytest.mark.parametrize(
    ("body", "kills"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", [3, 4]),
        ("raise MemoryError", [3, 3]),
    ],
)
def test_what_the_limit_of_a_container_ends_is_said(body: str, kills: list[int]) -> None:
    ended = in_group(body, kills)
    assert ended.returncode == 6
    assert ended.stderr == (
        "abtest: out of memory. This process may use 0.5 GB (its control group). "
        "Allow more, or use fewer --workers or fewer --users\n"
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),  # by somebody else
        ("os._exit(7)", 7),
        ("return 3", 3),
        ("print('done', file=sys.stderr); return 0", 0),
        ("os.kill(os.getppid(), signal.SIGTERM); signal.pause()", -signal.SIGTERM),
    ],
)
def test_in_a_container_other_ends_stay_what_they_are(body: str, code: int) -> None:
    ended = in_group(body, [3, 3])
    assert ended.returncode == code
    assert "memory" not in ended.stderr


def in_group(body: str, kills: list[int]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GROUP.format(body=body, kills=kills)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_log_too_large_to_describe_is_refused_with_both_sizes(
    abtest: Callable[..., Result], small_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Dataset.open(small_log).info.rows["impressions"]
    monkeypatch.setattr(memory, "memory_limit", lambda: 66 * rows - 1)
    ended = abtest("data", "describe", small_log)
    assert ended.code == 6 and not ended.out
    size = f"{66 * rows / 1e9:,.1f} GB"
    assert f"describing {rows:,} impressions takes about {size} of memory" in ended.err
    assert f"this machine has {size}" in ended.err
    monkeypatch.setattr(memory, "memory_limit", lambda: 66 * rows)
    assert abtest("data", "describe", small_log).code == 0


def test_people_of_a_log_with_too_many_videos_are_refused_before_they_are_learned(
    abtest: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = pl.DataFrame(
        {"user_id": [1, 2], "video_id": [1, 2], "time_ms": [10**12] * 2, "play_time_ms": [9, 9]}
    ).with_columns(pl.Series("is_click", [0, 1], dtype=pl.Int8))
    with DatasetWriter(tmp_path / "log", name="log", source="test", licence="none") as writer:
        writer.append("impressions", shown)
        writer.append("users", pl.DataFrame({"user_id": [1, 2]}))
        writer.append("videos", pl.DataFrame({"video_id": range(40_000)}))
    monkeypatch.setattr(memory, "memory_limit", lambda: 250 * 40_000)
    ended = abtest("data", "fidelity", "log")
    assert ended.code == 6
    assert "learning how people respond, with 40,000 videos and 2 users, takes about" in ended.err


def limited(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """What every reader of a log takes for the memory that there is."""
    monkeypatch.setattr(memory, "memory_limit", lambda: limit)
    monkeypatch.setattr(interactions, "memory_limit", lambda: limit)


@pytest.mark.parametrize(
    ("policy", "table", "label", "size", "events"),
    [
        ("sasrec:signal=clicked", "impressions", pl.col("is_click") == 1, 40, "clicked videos"),
        ("itemknn", "impressions", pl.col("is_like") == 1, 40, "liked videos"),
        ("comment-value", "comment_events", pl.col("is_shown") == 1, 170, "comments seen"),
        (
            "comment-sasrec",
            "comment_events",
            interactions.ENGAGED,
            160,
            "comments liked or replied",
        ),
    ],
)
def test_a_policy_whose_events_memory_cannot_hold_is_refused_before_they_are_read(
    abtest: Callable[..., Result],
    small_log: Path,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    table: str,
    label: pl.Expr,
    size: int,
    events: str,
) -> None:
    dataset = Dataset.open(small_log)
    count = int(dataset.scan(table).select(label.sum()).collect().item())
    assert 0 < count <= dataset.info.rows[table]
    limited(monkeypatch, size * count - 1)
    ended = abtest("train", policy, "--data", small_log, "--refresh")
    assert ended.code == 6 and not ended.out, ended.err
    assert f"reading {count:,} {events}" in ended.err and "--sample-users" in ended.err
    # Rows of the table are more than its events: those are counted, and fit.
    limited(monkeypatch, size * count)
    interactions.require_room_for(dataset, table, label, size, events)


def test_replay_refuses_rows_that_memory_cannot_hold_before_training(
    abtest: Callable[..., Result], small_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = abtest("run", "-t", "popular", "-c", "random", "--users", 300, "--data", small_log,
                  "--keep-log", "--explore-share", 0.2, "--out", "run", "--workers", 1)  # fmt: skip
    assert made.code in (0, 4), made.err
    dataset = Dataset.open(Path("run/log"))
    begin = cut_time(dataset)
    rows = dataset.scan("impressions").select((pl.col("time_ms") >= begin).sum())
    count = int(rows.collect().item())
    assert 0 < count < dataset.info.rows["impressions"]
    assert memory_to_replay(dataset, "auto", "auto", begin)[0] == 1_700 * count
    assert memory_to_replay(dataset, "auto", "all", begin)[0] == 700 * count
    monkeypatch.setattr(memory, "memory_limit", lambda: 1_700 * count - 1)
    ended = abtest("replay", "-t", "popular", "-c", "random", "--data", "run/log")
    assert ended.code == 6 and not ended.out
    assert f"replaying {count:,} impressions takes about" in ended.err
    assert "training" not in ended.err


def test_replay_of_given_probabilities_refuses_too_many_rows(
    abtest: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 500
    pl.DataFrame(
        {"item": [1, 2] * 250, "got": [0, 1] * 250, "p": [0.5] * rows, "new": [0.4] * rows}
    ).write_csv("choices.csv")
    names = "action=item,reward=got,propensity=p,target=new"
    assert abtest("data", "import", "choices.csv", "log", "--propensities", names).code == 0
    asked = ("replay", "--data", "log", "--target-probability", "target_probability")
    monkeypatch.setattr(memory, "memory_limit", lambda: 198 * rows - 1)
    ended = abtest(*asked)
    assert ended.code == 6 and "replaying 500 impressions takes about" in ended.err
    monkeypatch.setattr(memory, "memory_limit", lambda: 198 * rows)
    assert abtest(*asked).code in (0, 4)


SCORE = Path("/proc/self/oom_score_adj")


@pytest.mark.parametrize(("before", "after"), [(0, "300"), (-17, "283"), (900, "1000")])
def test_a_process_can_offer_to_be_killed_first(tmp_path: Path, before: int, after: str) -> None:
    file = tmp_path / "oom_score_adj"
    file.write_text(f"{before}\n")
    killed_before_others(300, file)
    assert file.read_text() == after


def test_a_system_without_scores_is_left_alone(tmp_path: Path) -> None:
    killed_before_others(300, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def own_score(shared: Any, task: int, told: Callable[[float], None]) -> int:
    return int(SCORE.read_text())


def nothing() -> None:
    pass


@pytest.mark.skipif(not SCORE.exists(), reason="this system has no scores for who is killed first")
def test_the_kernel_prefers_a_worker_to_its_parent() -> None:
    with LocalEngine(Job(nothing, own_score), 1) as engine:
        score = next(iter(engine.run([1], lambda done, finished: None)))
    assert score > int(SCORE.read_text())
