"""What a policy does to its process does not reach the platform."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abtest.errors import ExitCode, describe_error
from abtest.run.arms.foreign import guarded, make, told
from abtest.run.arms.isolation import ProcessExit, isolated, threads_left
from policies.errors import PolicyContractError

HEAD = "import os, sys, threading, numpy as np\nfrom policies.base import Policy\n\n\n"
BODY = "class Mine(Policy):\n    def score_videos(self, requests):\n        {}\n        return {}\n"
SCORES = "np.zeros(requests.candidates.shape, dtype=np.float32)"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a policy that does something before it scores; its name."""

    def write(does: str, scores: str = SCORES) -> str:
        (tmp_path / "mine.py").write_text(HEAD + BODY.format(does, scores), encoding="utf-8")
        return f"{tmp_path}/mine.py:Mine"

    return write


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("raise KeyboardInterrupt", "raised KeyboardInterrupt in score_videos"),
        ("os._exit(0)", r"raised ProcessExit: os\._exit\(0\) in score_videos"),
    ],
)
def test_an_end_that_a_policy_asks_for_is_its_error(
    write: Callable[..., str], does: str, said: str
) -> None:
    spec = write(does)
    policy = make(spec, {})
    with pytest.raises(PolicyContractError, match=said) as caught:
        told(spec, "score_videos", lambda: policy.score_videos(requests()), seconds=9.0)
    assert "mine.py line 7" in str(caught.value)
    known = describe_error(caught.value)
    assert known is not None and known[0] == ExitCode.POLICY


def test_ctrl_c_during_a_call_stays_ctrl_c(write: Callable[..., str]) -> None:
    spec = write("os.kill(os.getpid(), 2)")
    policy = make(spec, {})
    with pytest.raises(KeyboardInterrupt):
        told(spec, "score_videos", lambda: policy.score_videos(requests()))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


HARMS = (
    "sys.stdout.close()",
    "sys.stderr.close()",
    "sys.stdout.buffer.close()",
    "sys.__stdout__.close(); sys.__stderr__.close()",
    "os.close(1); os.close(2)",
    "sys.stdout = sys.stderr = None",
    "print('noise'); os.write(1, b'noise'); os.system('echo noise')",
    "os.chdir('/')",
    "os.fork()",
    "threading.Thread(target=threading.Event().wait).start()",
)
"""What a policy may do beside its work."""
SCRIPT = """
import os, sys
from pathlib import Path
from abtest.__main__ import _leave
from abtest.run.arms.foreign import guarded, make
from abtest.run.arms.isolation import threads_left
from tests.abtest.run.test_isolation import requests

# What loading takes is loaded once.
make(sys.argv[1], {})
for number, spec in enumerate(sys.argv[1:]):
    child = os.fork()
    if child == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{number}.{name}", os.O_WRONLY | os.O_CREAT), descriptor)
        sys.stdout.write("first ")
        scores = guarded(spec, make(spec, {})).score_videos(requests())
        print("result", scores.shape, Path.cwd().name)
        print("progress", file=sys.stderr)
        sys.stdout.flush(), sys.stderr.flush()
        if not threads_left():
            # Quicker than taking the interpreter apart.
            os._exit(0)
        _leave(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """Where processes with those policies wrote what they said, and how they ended."""
    place = tmp_path_factory.mktemp("place")
    specs = []
    for number, does in enumerate(HARMS):
        (place / f"mine{number}.py").write_text(HEAD + BODY.format(does, SCORES), encoding="utf-8")
        specs.append(f"{place}/mine{number}.py:Mine")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *specs],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return place, [int(code) for code in done.stdout.split()]


@pytest.mark.parametrize("does", HARMS)
def test_results_are_printed_whatever_a_policy_does(
    ends: tuple[Path, list[int]], does: str
) -> None:
    """The process ends, says its results once, and is where it was."""
    (place, codes), number = ends, HARMS.index(does)
    said = (place / f"{number}.err").read_text()
    assert codes[number] == 0, said
    assert (place / f"{number}.out").read_text() == f"first result (3, 4) {place.name}\n"
    assert said.endswith("progress\n")
    assert "Traceback" not in said


def test_scores_that_are_a_view_of_the_requests_are_taken(write: Callable[..., str]) -> None:
    spec = write("pass", "requests.candidates.view(np.float32)")
    given = requests()
    before = given.candidates.copy()
    scores = guarded(spec, make(spec, {})).score_videos(given)
    assert isinstance(scores, np.ndarray)
    assert scores.base is not None and not scores.flags.writeable
    np.testing.assert_array_equal(given.candidates, before)


def test_threads_inside_share_one_isolation() -> None:
    """The last to leave puts back what the first found."""
    out, ended = sys.stdout, os._exit
    both = threading.Barrier(2)

    def work() -> None:
        with isolated():
            both.wait(5.0)
            assert sys.stdout is not out

    other = threading.Thread(target=work)
    other.start()
    work()
    other.join()
    assert (sys.stdout, os._exit) == (out, ended)


def test_a_forked_child_may_still_end_itself() -> None:
    with isolated():
        child = os.fork()
        if child == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        with pytest.raises(ProcessExit):
            os._exit(7)


def test_only_threads_that_keep_a_process_from_ending_are_named() -> None:
    before = threads_left()
    gate = threading.Event()
    daemon = threading.Thread(target=gate.wait, daemon=True)
    other = threading.Thread(target=gate.wait, name="policy's own")
    daemon.start()
    other.start()
    try:
        assert sorted({*threads_left()} - {*before}) == ["policy's own"]
    finally:
        gate.set()
        other.join()


def requests() -> object:
    """Three pages of four videos."""
    from tests.abtest.run.test_foreign import video_requests

    return video_requests()
