"""Call policies that are not ours: whatever they raise, print or change is told as theirs.

Built-in policies are called as they are: their errors are ours to mend. Every other policy is
wrapped when it is loaded (`guarded`): its requests are read-only, what it prints goes to standard
error, an exception (`SystemExit`, `KeyboardInterrupt` and ``os._exit`` included) becomes a
`PolicyContractError` that names policy, method, file and line, and a call that takes longer than
``ABTEST_POLICY_SECONDS`` (300) ends. What it does to its process is undone: `isolation`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import errno
import inspect
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from abtest.errors import ExitCode, UsageError, out_of_memory
from abtest.run.arms.isolation import isolated, leave_process
from policies import registry
from policies.base import Policy, Progress, Scores, silent
from policies.errors import PolicyContractError, PolicyError, PolicyTooSlow
from policies.registry import create, is_built_in, parts_of, policy_class, ranked_by
from simulator.errors import SimulatorError
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, HistoryView, Int32, VideoRequests

T = TypeVar("T")
Requests = TypeVar("Requests", VideoRequests, CommentRequests)

SECONDS = "ABTEST_POLICY_SECONDS"
_DEFAULT_SECONDS = 300.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNDOING = "isolation.py"
"""A refusal of ours is raised there, and is about the line before."""
_CALLERS = (str(Path(__file__).parents[2]), registry.__file__)
_LINES = 4
"""Of a policy's traceback, shown with its error."""
_SIMILAR = 0.75
_ATTEMPTS = 5
_AGAIN = 1.0
"""Seconds between attempts to interrupt a call."""


def ours(spec: str) -> bool:
    """Whether a policy, or every part of a joined one, is built in."""
    return all(is_built_in(part) for part in parts_of(spec) or (spec,))


def told(
    spec: str,
    method: str,
    call: Callable[[], T],
    *,
    seconds: float | None = None,
    requests: VideoRequests | CommentRequests | None = None,
) -> T:
    """Call a method of a policy.

    Errors that say what is wrong already pass as they are.

    Args:
        spec: Name or ``file.py:Class``.
        method: Its method, for the message.
        call: Calls it.
        seconds: How long it may take; None for as long as it likes.
        requests: What it is asked, for the message.

    Raises:
        PolicyContractError: it raised anything else or took too long, and is not ours.
    """
    if ours(spec):
        return call()
    inside = isolated()
    try:
        with inside, _limit(seconds, f"{spec} in {method}"):
            return call()
    except (PolicyError, SimulatorError, MemoryError):
        raise
    except _TooLong:
        raise PolicyTooSlow(
            f"{spec} took more than {seconds:g} s in {method}.",
            f"Allow more: {SECONDS}=3600",
            asked=_asked(requests),
        ) from None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and inside.interrupted:
            raise
        if (isinstance(error, OSError) and error.errno in _FULL) or out_of_memory(error):
            raise
        raise PolicyContractError(
            f"{spec} raised {_summary(error)} in {method} ({_place(error)}).",
            f"Try it on a small log: abtest policy check {spec}",
            asked=_asked(requests),
            trace=_own_lines(error),
        ) from error


def make(spec: str, settings: Mapping[str, Any]) -> Policy:
    """A new, unfitted policy; see `policies.registry.create`.

    Raises:
        UnknownPolicy, PolicyError: there is none, or its settings cannot be.
        PolicyContractError: its code fails, or has no method that the platform would call.
    """
    seconds = seconds_per_call()
    policy = told(spec, "__init__", lambda: create(spec, **settings), seconds=seconds)
    for part in parts_of(spec) or (spec,):
        if not is_built_in(part):
            _check_class(part, policy_class(part))
    return policy


def seconds_per_call() -> float:
    """How long one call of a policy that is not ours may take, except training.

    Raises:
        UsageError: the environment variable is no number above 0.
    """
    text = os.environ.get(SECONDS)
    try:
        seconds = _DEFAULT_SECONDS if text is None else float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < 1e9:
        raise UsageError(f"{SECONDS} is '{text}', expected seconds.", f"Example: {SECONDS}=600")
    return seconds


def guarded(spec: str, policy: Policy, seconds: float | None = None) -> Policy:
    """A policy that cannot do harm by accident; our own as they are.

    Args:
        spec: Name or ``file.py:Class``.
        policy: What it made.
        seconds: How long a call may take; None for what `seconds_per_call` says.
    """
    if ours(spec):
        return policy
    # Messages name the class.
    kind = type(type(policy).__name__, (_Guarded,), {})
    wrapped: Policy = kind(spec, policy, seconds or seconds_per_call())
    return wrapped


class _Guarded(Policy):
    """Calls another policy through `told`, with read-only arrays."""

    ranks: ClassVar[tuple[str, ...]] = ("videos", "comments")

    def __init__(self, spec: str, inner: Policy, seconds: float) -> None:
        super().__init__()
        self.name = spec
        self._inner = inner
        self._seconds = seconds

    def settings(self) -> dict[str, Any]:
        """Of the policy."""
        return self._call("settings", self._inner.settings)

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Train it, without a limit of time."""
        told(self.name, "fit", lambda: self._inner.fit(dataset, seed=seed, progress=progress))

    def reset(self, n_rows: int) -> None:
        """A new group of people starts."""
        self._call("reset", lambda: self._inner.reset(n_rows))

    def score_videos(self, requests: VideoRequests) -> Scores:
        """Its scores of videos."""
        given = read_only(requests)
        return self._call("score_videos", lambda: self._inner.score_videos(given), given)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """Its scores of comments."""
        given = read_only(requests)
        return self._call("score_comments", lambda: self._inner.score_comments(given), given)

    def propose_videos(self, history: HistoryView, among: Int32, size: int) -> Int32 | None:
        """The videos that it proposes."""
        given = _frozen(among)
        return self._call(
            "propose_videos", lambda: self._inner.propose_videos(history, given, size)
        )

    def training_summary(self) -> dict[str, Any]:
        """Facts about its training."""
        return self._call("training_summary", self._inner.training_summary)

    def save(self, directory: Path) -> None:
        """Write its weights."""
        told(self.name, "save", lambda: self._inner.save(directory))

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore its weights."""
        told(self.name, "load", lambda: self._inner.load(directory, dataset))

    def _call(
        self,
        method: str,
        call: Callable[[], T],
        requests: VideoRequests | CommentRequests | None = None,
    ) -> T:
        return told(self.name, method, call, seconds=self._seconds, requests=requests)


def read_only(requests: Requests) -> Requests:
    """The same requests with arrays that cannot be written to."""
    frozen: dict[str, Any] = {
        field.name: _frozen(value)
        for field in dataclasses.fields(requests)
        if isinstance(value := getattr(requests, field.name), np.ndarray)
    }
    return dataclasses.replace(requests, **frozen)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _check_class(spec: str, kind: type[Policy]) -> None:
    """Refuse a class with a method that looks misspelt, that ranks nothing, or that forgets."""
    contract = {n for n, m in vars(Policy).items() if inspect.isfunction(m) and n[0] != "_"}
    own = {
        name
        for ancestor in kind.__mro__
        if ancestor not in Policy.__mro__
        for name, member in vars(ancestor).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    for name in sorted(own - contract):
        near = difflib.get_close_matches(name, sorted(contract - own), n=1, cutoff=_SIMILAR)
        if near:
            raise PolicyContractError(
                f"{spec} has a method '{name}', which nobody calls.",
                f"Did you mean '{near[0]}'? Otherwise begin its name with an underscore",
            )
    if not ranked_by(kind) and "propose_videos" not in own:
        raise PolicyContractError(
            f"{spec} ranks nothing: it has neither score_videos nor score_comments.",
            "Write one: abtest policy new my_policy",
        )
    if "fit" in own and not {"save", "load"} <= own:
        missing = next(name for name in ("save", "load") if name not in own)
        raise PolicyContractError(
            f"{spec} has fit but no {missing}: what it learns would not reach the processes that "
            "simulate.",
            "Write one: abtest policy new my_policy",
        )


class _TooLong(BaseException):
    """Raised inside a call that takes too long; no `Exception`, so that few catch it."""


@contextlib.contextmanager
def _limit(seconds: float | None, what: str) -> Iterator[None]:
    """End the block after a time; only in a process's main thread, where signals arrive.

    Code that catches whatever is raised in it ends with its process.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    raised = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        raised += 1
        if raised > _ATTEMPTS:
            text = f"abtest: {what} took more than {seconds:g} s and cannot be interrupted.\n"
            os.write(2, text.encode("utf-8", "backslashreplace"))
            leave_process(int(ExitCode.POLICY))
        raise _TooLong

    before = signal.signal(signal.SIGALRM, stop)
    # Again every second, should somebody catch everything.
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _summary(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:
        # An exception that cannot even say what it is.
        text = ""
    short = text if len(text) <= 200 else text[:197] + "..."
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


def _place(error: BaseException) -> str:
    frames = _frames(error)
    return f"{frames[-1].filename} line {frames[-1].lineno}" if frames else "unknown line"


def _own_lines(error: BaseException) -> tuple[str, ...]:
    """The last frames of a policy's traceback, each with its line of code."""
    return tuple(
        f"{frame.filename} line {frame.lineno}, in {frame.name}: {frame.line or ''}".rstrip(": ")
        for frame in _frames(error)[-_LINES:]
    )


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Of a traceback, without the callers in this program and without what refused in our name."""
    frames = list(traceback.extract_tb(error.__traceback__))
    while len(frames) > 1 and frames[0].filename.startswith(_CALLERS):
        del frames[0]
    while len(frames) > 1 and frames[-1].filename.endswith(_UNDOING):
        del frames[-1]
    return frames


def _asked(requests: VideoRequests | CommentRequests | None) -> tuple[int, int, int] | None:
    if requests is None or not len(requests.user):
        return None
    return len(requests.user), int(requests.user[0]), int(requests.time_ms[0])
