"""A run directory says how far it came, and mixes nothing."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from abtest.config import RunConfig
from abtest.console import Console
from abtest.errors import Interrupted, RunDataError, UsageError
from abtest.files import write_parquet
from abtest.results.metrics import platform_metrics
from abtest.run import sizing
from abtest.run.arms.weights import check_weights, write_summary
from abtest.run.datasets import GROUP_SIZE
from abtest.run.machines import Machines
from abtest.run.run_directory import RunDirectory
from abtest.run.sizing import people_needed
from policies.errors import CheckpointError
from reports.plan import build_plan
from reports.statistics.power import Baseline, PlannedTest, detectable_lift
from tests.abtest.conftest import Result

Run = Callable[..., Result]


@pytest.fixture
def finished(abtest: Run, small_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small finished run, with a cache of its own."""
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path / "cache"))
    result = abtest("run", "-t", "popular", "-c", "random", "--users", 30, "--data", small_log,
                    "--out", "run[1]", "--workers", 1, "--quiet")  # fmt: skip
    assert result.code in (0, 4), result.err
    return tmp_path / "run[1]"


def test_a_run_that_was_stopped_says_so_and_goes_on(
    finished: Path, abtest: Run, tmp_path: Path
) -> None:
    log = (finished / "run.log").read_text(encoding="utf-8")
    for expected in ("torch ", "training popular", "simulating 30 people", "analysing"):
        assert expected in log
    expected = {n: (finished / n).read_bytes() for n in ("outcomes.parquet", "results.json")}
    # Beside it lies what a glob pattern would match.
    shutil.copytree(finished, tmp_path / "run1")
    (tmp_path / "run1" / "pieces" / "group-00000.parquet").write_bytes(b"of another run")
    # As if the process had been killed while it simulated.
    for name in ("outcomes.parquet", "results.json", "report.html"):
        (finished / name).unlink()
    (finished / "pieces" / ".group-00001.parquet.1-abcdef.tmp").write_bytes(b"half")
    power = abtest("power", finished.name, "--mde", "1%")
    assert power.code == 3
    assert "no outcomes" in power.err and "abtest run --resume" in power.err
    report = abtest("report", finished.name)
    assert report.code == 3 and "no results yet" in report.err
    resumed = abtest("run", "--resume", finished.name, "--quiet")
    assert resumed.code in (0, 4), resumed.err
    assert {n: (finished / n).read_bytes() for n in expected} == expected
    assert [p.name for p in (finished / "pieces").iterdir()] == ["group-00000.parquet"]
    assert (finished / "run.log").read_text(encoding="utf-8").count("command: ") == 2

    # Weights trained elsewhere: another kind of processor, other last bits.
    (weights,) = (tmp_path / "cache" / "policies").glob("popular-*")
    with (weights / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    (finished / "report.html").unlink()
    flipped = abtest("run", "--resume", finished.name)
    assert flipped.code == 3
    assert "weights of popular are damaged: weights.safetensors is not what" in flipped.err
    assert "simulating" not in flipped.err
    facts = json.loads((weights / "summary.json").read_text(encoding="utf-8"))
    write_summary(weights, "popular", facts)
    other = abtest("run", "--resume", finished.name)
    assert other.code == 3
    assert re.search(r"run\[1\] was simulated with other weights of popular \(", other.err)
    assert {n: (finished / n).read_bytes() for n in expected} == expected

    # Damage is named with its path.
    (finished / "plan.json").write_text("[1]", encoding="utf-8")
    damaged = abtest("run", "--resume", finished.name)
    assert damaged.code == 3 and "plan.json is damaged" in damaged.err


def test_a_finished_run_is_shown_again_and_left_alone(
    finished: Path, abtest: Run, tmp_path: Path
) -> None:
    # Copied elsewhere, without the cache, after its log is gone.
    moved = tmp_path / "elsewhere" / "copy"
    moved.parent.mkdir()
    finished.rename(moved)
    shutil.rmtree(tmp_path / "cache")

    def state() -> dict[str, tuple[bytes, int]]:
        files = [path for path in moved.rglob("*") if path.is_file()]
        return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}

    before = state()
    again = abtest("run", "--resume", moved)
    assert again.code in (0, 4), again.err
    assert f"{moved} is finished; nothing was run or changed" in again.err
    assert "Primary metric" in again.out
    assert state() == before
    page = (moved / "report.html").read_bytes()
    assert abtest("report", moved).code in (0, 4)
    assert (moved / "report.html").read_bytes() == page


def test_seconds_of_all_attempts_are_added_up(finished: Path, abtest: Run) -> None:
    first = json.loads((finished / "timings.json").read_text(encoding="utf-8"))
    (finished / "results.json").unlink()
    assert abtest("run", "--resume", finished, "--quiet").code in (0, 4)
    both = json.loads((finished / "timings.json").read_text(encoding="utf-8"))
    # Nothing was simulated or trained again; what was analysed twice took longer.
    assert both.items() >= {(k, v) for k, v in first.items() if k in ("simulate", "train")}
    assert both["analyse"] > first["analyse"]


def test_two_processes_do_not_work_on_one_run(finished: Path) -> None:
    first, second = RunDirectory.open(finished), RunDirectory.open(finished)
    with first.locked(), pytest.raises(UsageError, match="another process"), second.locked():
        pass


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda d: (d / "w.bin").write_bytes(b"\x00\x02"), "w.bin is not what training wrote"),
        (lambda d: (d / "w.bin").write_bytes(b""), "w.bin is not what training wrote"),
        (lambda d: (d / "w.bin").write_bytes(pickle.dumps([])), "w.bin is not what"),
        (lambda d: (d / "w.bin").unlink(), "w.bin is missing"),
        (lambda d: (d / "more").write_bytes(b""), "more was not written by training"),
        (lambda d: (d / "manifest.json").write_bytes(b"{"), "are damaged"),
        (lambda d: (d / "manifest.json").write_bytes(b"[]"), "manifest.json is no table"),
        (lambda d: (d / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda d: (d / "summary.json").write_bytes(b""), "weights of mine are damaged"),
    ],
)
def test_damaged_weights(tmp_path: Path, damage: Callable[[Path], object], expected: str) -> None:
    (tmp_path / "w.bin").write_bytes(b"\x00\x01")
    write_summary(tmp_path, "mine", {"loss": 0.5})
    before = check_weights(tmp_path, "mine")
    assert check_weights(tmp_path, "mine") == before
    damage(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        check_weights(tmp_path, "mine")
    assert expected in str(caught.value)
    assert f"rm -r {tmp_path}" in str(caught.value)


# -- sizing ---------------------------------------------------------------------------------------


def test_people_needed_are_just_enough() -> None:
    baseline = Baseline(1.0, 9.0)

    def detectable(people: int) -> float:
        found = detectable_lift(baseline, (people // 2, people // 2), PlannedTest(0.05)).lift
        assert found is not None
        return found

    pilot = 2 * GROUP_SIZE
    for wanted in (0.02, 0.031, 0.05):
        people = people_needed(pilot, detectable(pilot), wanted)
        assert people % GROUP_SIZE == 0
        assert detectable(people) <= wanted * 1.005
        assert detectable(people - 2 * GROUP_SIZE) > wanted
    assert people_needed(pilot, 0.01, 0.5) == pilot


def test_a_pilot_is_no_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(treatment=("b",), control="a", max_users=40 * GROUP_SIZE, detect=0.03)
    directory = RunDirectory.create(tmp_path / "run", config, {})
    simulated: list[int] = []

    class Pool:
        """Writes outcomes of people who differ by a lot; is stopped after the pilot."""

        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def run(self, groups: int, console: Console, title: str) -> None:
            if simulated:
                simulated.append(groups)
                raise Interrupted("stopped")
            simulated.append(groups)
            for g in range(groups):
                users = pl.int_range(g * GROUP_SIZE, (g + 1) * GROUP_SIZE, eager=True)
                value = (users * 2_654_435_761 % 1_000).cast(pl.Float64) * 1_000
                frame = pl.DataFrame(
                    {
                        "user_id": users,
                        "arm": ["ab"[i % 2] for i in range(GROUP_SIZE)],
                        "day": pl.zeros(GROUP_SIZE, dtype=pl.Int32, eager=True),
                        "comment_watch_time_ms": value,
                    }
                ).with_columns(
                    pl.lit(1.0).alias(name)
                    for name in ("sessions", "impressions", "clicks", "comment_opens", "likes",
                                 "play_time_ms", "comment_likes", "comment_replies", "hates",
                                 "returned", "active")
                )  # fmt: skip
                write_parquet(frame, directory.piece(g))

    monkeypatch.setattr(sizing, "SimulationPool", Pool)
    spec: object = type("Spec", (), {"people": 40 * GROUP_SIZE, "arms": ("a", "b")})()
    with pytest.raises(Interrupted):
        sizing.simulate(
            config,
            None,
            spec,
            build_plan(metrics=platform_metrics()),
            directory,
            Machines(),
            Console(quiet=True),  # type: ignore[arg-type]
        )
    pilot, wanted = simulated
    assert pilot == 2
    # Uniform values: sd / mean = 0.577, so 8,192 people detect 2.8 * .577 * 2 / sqrt(8192) = 3.6 %.
    detectable = (1.959964 + 0.841621) * 0.5776 * 2.0 / (2 * GROUP_SIZE) ** 0.5
    assert wanted == pytest.approx(2 * (detectable / config.detect) ** 2, abs=1.0)
    assert not (directory.path / "outcomes.parquet").exists()


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ("mine_py-2222 aaaa", "its code or its settings were changed since"),
        ("mine_py-1111 bbbb", "they were trained anew, or on another kind of processor"),
    ],
)
def test_weights_that_are_others_are_told_why(tmp_path: Path, now: str, why: str) -> None:
    plan = {"weights": {"mine.py": "mine_py-1111 aaaa"}}
    run = RunDirectory.create(tmp_path / "run", RunConfig(treatment=("mine.py",)), plan)
    run.check_plan(plan)
    with pytest.raises(RunDataError, match=why):
        run.check_plan({"weights": {"mine.py": now}})
