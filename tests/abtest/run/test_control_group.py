"""What the system says about memory is read from both versions of control groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abtest.control_group import group_limit, killed_before_others
from abtest.run.engines import Job, LocalEngine

SCORE = Path("/proc/self/oom_score_adj")


def group(tmp_path: Path, line: str, file: str, text: str) -> tuple[Path, Path]:
    """A kernel's list of groups, and the folder where groups are mounted."""
    (tmp_path / "cgroup").write_text(line + "\n")
    limit = tmp_path / "mount" / file
    limit.parent.mkdir(parents=True)
    limit.write_text(text)
    return tmp_path / "cgroup", tmp_path / "mount"


@pytest.mark.parametrize(
    ("line", "file", "text", "limit"),
    [
        ("0::/box", "box/memory.max", "900000000\n", 900_000_000),
        ("0::/box", "memory.max", "900000000\n", 900_000_000),
        ("0::/box", "box/memory.max", "max\n", None),
        ("4:memory:/box", "memory/box/memory.limit_in_bytes", "471859200\n", 471_859_200),
        ("4:cpu,memory:/box", "memory/memory.limit_in_bytes", "471859200\n", 471_859_200),
        ("4:memory:/box", "memory/box/memory.limit_in_bytes", "9223372036854771712\n", None),
        ("4:cpu:/box", "memory/box/memory.limit_in_bytes", "471859200\n", None),
    ],
)
def test_the_limit_of_a_container_is_known(
    tmp_path: Path, line: str, file: str, text: str, limit: int | None
) -> None:
    assert group_limit(*group(tmp_path, line, file, text)) == limit


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert group_limit(tmp_path / "none", tmp_path) is None


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
