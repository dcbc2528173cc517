"""Workers: results in order, errors as what they are, and no process that outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from abtest.run.engines import Job, LocalEngine, WorkerDied, WorkerError
from policies.errors import PolicyContractError, PolicyTooSlow
from simulator.memory import out_of_memory_kills
from tests.abtest.command_line.child_processes import runs, wait_until


class Unfit(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def share(value: int) -> int:
    return value


def broken() -> None:
    raise PolicyContractError("the weights are odd.", "Look at them")


def slow_square(shared: int, task: int, told: Callable[[float], None]) -> int:
    told(0.5)
    time.sleep(0.3 if task == 0 else 0.0)
    told(1.0)
    return shared + task * task


def misbehave(shared: Any, task: str, told: Callable[[float], None]) -> str:
    if task == "policy":
        raise PolicyContractError("Mine returned nonsense.", "Reproduce: abtest policy check")
    if task == "exit":
        raise SystemExit(0)
    if task == "memory":
        raise MemoryError
    if task == "unfit":
        raise Unfit("this", "that")
    if task == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "leave":
        os._exit(7)
    if task == "hold up":
        os._exit(5)
    print("a policy prints")
    return task


def silent(done: float, finished: int) -> None:
    pass


def test_results_come_in_the_order_of_the_tasks() -> None:
    told: list[tuple[float, int]] = []
    with LocalEngine(Job(partial(share, 100), slow_square), 2) as engine:
        assert list(engine.run([0, 1, 2], lambda *now: told.append(now))) == [100, 101, 104]
        assert told[-1] == (3.0, 3)
        assert list(engine.run([5], silent)) == [125]


@pytest.mark.parametrize(
    ("task", "kind", "text"),
    [
        ("policy", PolicyContractError, "Mine returned nonsense. Reproduce"),
        ("exit", SystemExit, "0"),
        ("memory", MemoryError, ""),
        ("unfit", WorkerError, "Unfit: this and that"),
    ],
)
def test_errors_reach_the_caller_as_what_they_are(
    task: str, kind: type[BaseException], text: str
) -> None:
    engine = LocalEngine(Job(partial(share, 0), misbehave), 1)
    with pytest.raises(kind) as caught, engine:
        list(engine.run([task], silent))
    assert text in str(caught.value)
    assert "in misbehave" in str(caught.value.__cause__)
    if kind is PolicyContractError:
        assert caught.value.hint == "Reproduce: abtest policy check"  # type: ignore[attr-defined]


def test_what_fails_before_the_first_task_is_told_too() -> None:
    engine = LocalEngine(Job(broken, slow_square), 1)
    with pytest.raises(PolicyContractError, match="the weights are odd"), engine:
        list(engine.run([1, 2], silent))


@pytest.mark.parametrize(
    ("task", "text"), [("kill", "killed by SIGKILL"), ("leave", "ended with exit code 7")]
)
def test_a_worker_that_ends_is_not_taken_for_want_of_memory(task: str, text: str) -> None:
    engine = LocalEngine(Job(partial(share, 0), misbehave), 1)
    with pytest.raises(WorkerDied, match=text) as caught, engine:
        list(engine.run([task], silent))
    assert caught.value.out_of_memory is False
    assert "out of memory" not in str(caught.value)


def test_a_worker_that_a_policy_holds_up_is_told_as_the_policys_fault() -> None:
    engine = LocalEngine(Job(partial(share, 0), misbehave), 1)
    with pytest.raises(PolicyTooSlow, match="could not be interrupted"), engine:
        list(engine.run(["hold up"], silent))


def test_want_of_memory_is_read_from_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, mount = tmp_path / "cgroup", tmp_path / "mount"
    (mount / "job").mkdir(parents=True)
    group.write_text("0::/job\n", encoding="utf-8")
    assert out_of_memory_kills(group, mount) == 0
    (mount / "job" / "memory.events").write_text("oom 3\noom_kill 2\n", encoding="utf-8")
    assert out_of_memory_kills(group, mount) == 2
    (mount / "memory" / "old").mkdir(parents=True)
    group.write_text("4:cpu,memory:/old\n0::/\n", encoding="utf-8")
    (mount / "memory" / "old" / "memory.oom_control").write_text(
        "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", encoding="utf-8"
    )
    assert out_of_memory_kills(group, mount) == 5
    assert out_of_memory_kills(tmp_path / "none", mount) == 0

    counts = iter([2, 3])
    monkeypatch.setattr("abtest.run.engines.out_of_memory_kills", lambda: next(counts))
    engine = LocalEngine(Job(partial(share, 0), misbehave), 1)
    with pytest.raises(WorkerDied, match="ran out of memory") as caught, engine:
        list(engine.run(["kill"], silent))
    assert caught.value.out_of_memory is True


_PARENT = """
import sys, time
from functools import partial
from abtest.run.engines import Job, LocalEngine
from tests.abtest.run.test_engines import forever, share, silent

# Without a guard for the main module: workers do not import it.
with LocalEngine(Job(partial(share, 0), forever), 2) as engine:
    list(engine.run([sys.argv[1] + "/a", sys.argv[1] + "/b"], silent))
"""


def forever(shared: Any, task: str, told: Callable[[float], None]) -> None:
    Path(task).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(600.0)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(_PARENT, encoding="utf-8")
    root = str(Path(__file__).parents[3])
    command = [sys.executable, str(script), str(tmp_path)]
    parent = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root})
    try:
        files = [tmp_path / "a", tmp_path / "b"]
        wait_until(lambda: all(f.exists() and f.read_text() for f in files), 120.0)
        workers = [int(f.read_text()) for f in files]
        assert all(runs(pid) for pid in workers)
        parent.send_signal(how)
        parent.wait(20.0)
        wait_until(lambda: not any(runs(pid) for pid in workers), 10.0)
    finally:
        parent.kill()


_SLOW_TO_START = """
import os, sys
from functools import partial
os.environ["PARENT"] = str(os.getpid())
import slow
from abtest.run.engines import Job, LocalEngine
from tests.abtest.run.test_engines import forever, silent

with LocalEngine(Job(slow.nothing, forever), 1) as engine:
    list(engine.run([sys.argv[1] + "/a"], silent))
"""
_SLOW = """
import os, time
from pathlib import Path
def nothing(): pass
if os.environ["PARENT"] != str(os.getpid()):
    Path(__file__).with_name("importing").write_text(str(os.getpid()))
    time.sleep(300.0)
"""


def test_a_worker_that_still_imports_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(_SLOW_TO_START, encoding="utf-8")
    (tmp_path / "slow.py").write_text(_SLOW, encoding="utf-8")
    path = f"{Path(__file__).parents[3]}{os.pathsep}{tmp_path}"
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        importing = tmp_path / "importing"
        wait_until(lambda: importing.exists() and bool(importing.read_text()), 120.0)
        worker = int(importing.read_text())
        parent.kill()
        parent.wait(20.0)
        wait_until(lambda: not runs(worker), 10.0)
    finally:
        parent.kill()


def test_what_a_task_prints_is_no_result(capfd: pytest.CaptureFixture[str]) -> None:
    with LocalEngine(Job(partial(share, 0), misbehave), 1) as engine:
        assert list(engine.run(["print"], silent)) == ["print"]
    out, err = capfd.readouterr()
    assert out == "" and "a policy prints" in err
