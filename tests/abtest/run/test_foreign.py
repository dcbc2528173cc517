"""Policies that are not ours may do anything; the message says that it was them."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abtest.errors import ExitCode, UsageError, describe_error
from abtest.run.arms import foreign
from abtest.run.arms.foreign import guarded, make, read_only, seconds_per_call, told
from policies.base import Policy
from policies.errors import PolicyContractError, PolicyError
from simulator.requests import CommentRequests, HistoryState, VideoRequests
from tests.abtest.conftest import Result

Run = Callable[..., Result]

HEAD = "import sys\nimport numpy as np\nfrom policies.base import Policy\n\n\n"
CLASS = HEAD + 'class Mine(Policy):\n    """One of somebody\'s own."""\n\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Write a policy file with this body; its name."""

    def write(body: str) -> str:
        number = len(list(tmp_path.glob("mine*.py")))
        path = tmp_path / f"mine{number}.py"
        path.write_text(CLASS + "\n".join(f"    {line}" for line in body.splitlines()) + "\n")
        return f"{path}:Mine"

    return write


def video_requests() -> VideoRequests:
    rows = np.arange(3, dtype=np.int32)
    return VideoRequests(
        row=rows,
        user=rows,
        time_ms=np.zeros(3, dtype=np.int64),
        key=rows.astype(np.uint64),
        candidates=np.tile(np.arange(4, dtype=np.int32), (3, 1)),
        history=HistoryState(3).view(rows),
    )


def comment_requests() -> CommentRequests:
    videos = video_requests()
    return CommentRequests(
        videos.row, videos.user, videos.time_ms, videos.key, videos.row, videos.candidates,
        videos.history,
    )  # fmt: skip


SCORE = "def score_videos(self, requests):\n    {}\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("sys.exit(0)", "SystemExit: 0 in score_videos"),
        ("raise BaseException('odd')", "BaseException: odd in score_videos"),
        ("return 1 / 0", "ZeroDivisionError: division by zero in score_videos"),
        ("raise OSError(2, 'no model server')", "FileNotFoundError"),
        ("requests.candidates[:] = 7", "ValueError: assignment destination is read-only"),
        ("requests.time_ms.fill(0)", "ValueError: "),
        ("return self.missing", "AttributeError: 'Mine' object has no attribute 'missing'"),
    ],
)
def test_errors_name_policy_method_and_line(
    write: Callable[[str], str], body: str, expected: str
) -> None:
    spec = write(SCORE.format(body))
    policy = guarded(spec, make(spec, {}))
    with pytest.raises(PolicyContractError) as caught:
        policy.score_videos(video_requests())
    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{spec} raised ")
    assert "mine0.py line 10" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert describe_error(caught.value) is not None
    assert describe_error(caught.value)[0] == ExitCode.POLICY  # type: ignore[index]


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("reset", lambda p: p.reset(3)),
        ("score_comments", lambda p: p.score_comments(comment_requests())),
        ("save", lambda p: p.save(Path())),
        ("load", lambda p: p.load(Path(), None)),
        ("training_summary", lambda p: p.training_summary()),
        ("settings", lambda p: p.settings()),
        ("fit", lambda p: p.fit(None, seed=1)),
        ("propose_videos", lambda p: p.propose_videos(None, np.arange(3), 1)),
    ],
)
def test_every_method_is_told(
    write: Callable[[str], str], method: str, call: Callable[[Policy], object]
) -> None:
    body = SCORE.format("return None") + "".join(
        f"def {name}(self, *arguments, **named):\n    raise KeyError('x')\n"
        for name in {method, "fit", "save", "load"}
    )
    spec = write(body)
    policy = guarded(spec, make(spec, {}))
    with pytest.raises(PolicyContractError, match=f"raised KeyError: 'x' in {method} "):
        call(policy)


def test_a_constructor_and_a_file_may_fail(write: Callable[[str], str], tmp_path: Path) -> None:
    with pytest.raises(PolicyContractError, match="ValueError: no in __init__"):
        make(write(SCORE.format("pass") + "def __init__(self):\n    raise ValueError('no')\n"), {})
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n", encoding="utf-8")
    with pytest.raises(PolicyError, match=r"leaves\.py cannot be imported"):
        make(f"{tmp_path}/leaves.py:Mine", {})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("def score_video(self, requests):\n    pass\n", "Did you mean 'score_videos'?"),
        (
            SCORE.format("pass") + "def score_coments(self, requests):\n    pass\n",
            "Did you mean 'score_comments'?",
        ),
        ("def settings(self):\n    return {}\n", "ranks nothing"),
        (SCORE.format("pass") + "def fit(self, dataset, *, seed):\n    pass\n", "fit but no save"),
    ],
)
def test_a_class_that_cannot_work_is_refused(
    write: Callable[[str], str], body: str, expected: str
) -> None:
    with pytest.raises(PolicyContractError) as caught:
        make(write(body), {})
    assert expected in str(caught.value)


def test_helpers_are_no_misspellings(write: Callable[[str], str]) -> None:
    make(
        write(SCORE.format("pass") + "def score(self):\n    pass\ndef _load(self):\n    pass\n"), {}
    )


@pytest.mark.parametrize("body", ["while True:\n        pass", "import time; time.sleep(60)"])
def test_a_call_that_hangs_is_ended(
    write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setenv("ABTEST_POLICY_SECONDS", "0.2")
    spec = write(SCORE.format(body))
    policy = guarded(spec, make(spec, {}))
    with pytest.raises(PolicyContractError, match=r"took more than 0\.2 s in score_videos"):
        policy.score_videos(video_requests())


def test_a_call_that_catches_everything_ends_with_its_process(
    write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ABTEST_POLICY_SECONDS", "0.1")
    monkeypatch.setattr(foreign, "_AGAIN", 0.05)
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    lines = ("import time", "for _ in range(9):", " try: time.sleep(9)", " except BaseException: 0")
    body = f"exec({chr(10).join(lines)!r})"
    spec = write(SCORE.format(body))
    policy = guarded(spec, make(spec, {}))
    policy.score_videos(video_requests())
    assert set(ended) == {5}
    said = capfd.readouterr().err
    assert "in score_videos took more than 0.1 s and cannot be interrupted" in said


def test_a_file_that_hangs_is_ended_and_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ABTEST_POLICY_SECONDS", "0.2")
    (tmp_path / "hangs.py").write_text("import time\nwhile True: time.sleep(1)\n")
    for _ in range(2):
        with pytest.raises(PolicyContractError, match=r"took more than 0\.2 s in __init__"):
            make(f"{tmp_path}/hangs.py:Mine", {})


def test_an_error_that_cannot_be_shown_is_still_told(write: Callable[[str], str]) -> None:
    body = "raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})()"
    spec = write(SCORE.format(body))
    policy = guarded(spec, make(spec, {}))
    with pytest.raises(PolicyContractError, match=r"raised E in score_videos"):
        policy.score_videos(video_requests())


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_the_limit_is_a_number(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ABTEST_POLICY_SECONDS", text)
    with pytest.raises(UsageError, match=f"'{text}', expected seconds"):
        seconds_per_call()


def test_what_a_policy_prints_is_no_result(write: Callable[[str], str]) -> None:
    spec = write(SCORE.format("print('thinking')"))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", err)
        guarded(spec, make(spec, {})).score_videos(video_requests())
    assert out.getvalue() == "" and err.getvalue() == "thinking\n"


def test_ours_are_called_as_they_are() -> None:
    policy = make("popular", {})
    assert guarded("popular", policy) is policy
    with pytest.raises(ZeroDivisionError):
        told("popular", "fit", lambda: 1 / 0)


def test_read_only_arrays_are_views() -> None:
    given = video_requests()
    seen = read_only(given)
    with pytest.raises(ValueError, match="read-only"):
        seen.candidates[0, 0] = 3
    assert np.shares_memory(seen.candidates, given.candidates)
    given.candidates[0, 0] = 3


def test_in_a_run_it_is_exit_5_with_the_traceback_in_run_log(
    abtest: Run, small_log: Path, tmp_path: Path, write: Callable[[str], str]
) -> None:
    spec = write(SCORE.format("sys.exit(0)"))
    result = abtest("run", "-t", spec, "-c", "random", "--users", 20, "--data", small_log,
                    "--out", "run", "--workers", 1)  # fmt: skip
    assert result.code == 5, result.err
    assert "raised SystemExit: 0 in score_videos" in result.err
    assert "Traceback" not in result.err and result.out == ""
    # Which request, the line of the policy, and where the rest is.
    assert re.search(r"asked for \d+ requests, the first of user \d+ at 20\d\d-", result.err)
    assert "mine0.py line 10, in score_videos: sys.exit(0)" in result.err
    assert "details: run/run.log" in result.err
    assert "foreign.py" not in result.err
    # All rules that can be tried break for one reason, which is said once.
    assert result.err.count("breaks the contract") <= 2 and "more rules by the same" in result.err
    log = (tmp_path / "run" / "run.log").read_text(encoding="utf-8")
    assert "Traceback" in log and "sys.exit(0)" in log
    assert "abtest 0" in log and "torch" in log and "simulating 20 people" in log
