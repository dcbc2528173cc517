"""The limit of memory is the smallest on the way from a process's own group up to the root."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from simulator import memory
from simulator.memory import group_limit, memory_limit

Files = dict[str, str]
NONE = "9223372036854771712\n"
"""What version 1 of control groups writes where there is no limit."""


def built(tmp_path: Path, lines: str, files: Files) -> tuple[Path, Path]:
    """A kernel's list of groups, and the folder where groups are mounted."""
    (tmp_path / "cgroup").write_text(lines + "\n")
    for file, text in files.items():
        path = tmp_path / "mount" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "cgroup", tmp_path / "mount"


def second(**limits: str) -> Files:
    """``memory.max`` of folders whose names are written with ``_`` for ``/``."""
    return {f"{name.replace('_', '/')}/memory.max".lstrip("/"): v for name, v in limits.items()}


def first(**limits: str) -> Files:
    """The same for version 1."""
    return {
        f"memory/{name.replace('_', '/')}/memory.limit_in_bytes": v for name, v in limits.items()
    }


@pytest.mark.parametrize(
    ("line", "files", "limit"),
    [
        ("0::/box", second(box="900000000\n"), 900_000_000),
        ("0::/box", {"memory.max": "900000000\n"}, 900_000_000),
        ("0::/box", second(box="max\n"), None),
        # The group that holds it allows less, or its own has no limit.
        ("0::/pod/box", second(pod_box="900\n", pod="500\n") | {"memory.max": "max\n"}, 500),
        ("0::/pod/box", second(pod_box="max\n", pod="500\n"), 500),
        ("0::/pod/box", second(pod_box="900\n", pod="max\n") | {"memory.max": "700\n"}, 700),
        ("0::/pod/box", second(pod_box="300\n", pod="500\n") | {"memory.max": "700\n"}, 300),
        # Groups of others do not count.
        ("0::/pod/box", second(pod_other="1\n", other="1\n", pod="500\n"), 500),
        # A container sees its own group as the root, and not the path above.
        ("0::/../other", {"memory.max": "700\n", "other/memory.max": "1\n"}, 700),
        ("4:memory:/box", first(box="471859200\n"), 471_859_200),
        ("4:cpu,memory:/box", {"memory/memory.limit_in_bytes": "471859200\n"}, 471_859_200),
        ("4:memory:/box", first(box=NONE), None),
        ("4:memory:/pod/box", first(pod_box=NONE, pod="500\n"), 500),
        ("4:memory:/pod/box", first(pod_box="900\n", pod="500\n"), 500),
        ("4:memory:/pod/box", first(pod_box="300\n", pod="500\n"), 300),
        ("4:cpu:/box", first(box="471859200\n"), None),
        # Both versions are mounted: memory belongs to one of them.
        ("4:memory:/pod/box\n0::/pod", first(pod_box=NONE, pod="500\n"), 500),
        ("4:cpu:/box\n0::/pod/box", first(box="1\n") | second(pod="600\n"), 600),
    ],
)
def test_the_smallest_limit_on_the_way_to_the_root_counts(
    tmp_path: Path, line: str, files: Files, limit: int | None
) -> None:
    assert group_limit(*built(tmp_path, line, files)) == limit


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert group_limit(tmp_path / "none", tmp_path) is None


def test_the_limit_is_the_least_of_machine_groups_and_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = built(tmp_path, "0::/pod/box", second(pod="500000\n", pod_box="max\n"))
    assert memory_limit(*groups) == 500_000
    monkeypatch.setattr(memory.resource, "getrlimit", lambda which: (400_000, 400_000))
    assert memory_limit(*groups) == 400_000
    monkeypatch.setattr(memory.resource, "getrlimit", lambda which: (resource.RLIM_INFINITY,) * 2)
    total = memory_limit(tmp_path / "none", tmp_path)
    stated = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()[0]
    assert total == pytest.approx(int(stated.split()[1]) * 1024, rel=0.01)
