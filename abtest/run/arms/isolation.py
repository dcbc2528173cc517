"""Keep what a policy does to its process from the platform: exits, closed streams, forks, moves.

Python code that means no harm can still end the process (``os._exit``), print into the results
(file descriptor 1), close a stream that others write to, change the directory, or return twice
(``os.fork``). Inside `isolated` none of this reaches the platform. Native code that crashes, or a
policy that sets out to do harm, is not held back: see SECURITY.md.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, TextIO

_OUT, _ERR = 1, 2


class ProcessExit(BaseException):
    """The code inside asked for the end of the process."""

    def __init__(self, code: int) -> None:
        super().__init__(f"os._exit({code})")


class _Shared(io.TextIOBase):
    """A stream that belongs to everybody: closing it does nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def buffer(self) -> _SharedBytes:
        """Of the stream, for bytes."""
        return _SharedBytes(self._stream)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream."""
        return self._stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        """Write, if the stream is still open."""
        with contextlib.suppress(ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if the stream is still open."""
        with contextlib.suppress(ValueError):
            self._stream.flush()

    def fileno(self) -> int:
        """Of the stream."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def close(self) -> None:
        """Do nothing."""


class _SharedBytes(io.BufferedIOBase):
    """The bytes of such a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, data: Any) -> int:
        """Write, if the stream is still open."""
        with contextlib.suppress(ValueError):
            self._stream.flush()
            return self._stream.buffer.write(data)
        return len(data)

    def flush(self) -> None:
        """Flush, if the stream is still open."""
        with contextlib.suppress(ValueError):
            self._stream.flush()

    def close(self) -> None:
        """Do nothing."""


class _State:
    """What is changed in this process while any thread is inside, and how it was."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._inside = 0
        self._files: dict[int, int] = {}
        self.exit = os._exit

    def enter(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            self._streams = (sys.stdout, sys.stderr)
            self._first = (sys.__stdout__, sys.__stderr__)
            self._directory = _directory()
            self.exit = os._exit
            _flush(*self._streams)
            for number in (_OUT, _ERR):
                with contextlib.suppress(OSError):
                    self._files[number] = os.dup(number)
            if _ERR in self._files:
                os.dup2(_ERR, _OUT)
            shared: Any = _Shared(sys.stderr)
            sys.stdout = sys.stderr = shared
            vars(sys).update(__stdout__=shared, __stderr__=shared)
            owner = os.getpid()

            def refuse(status: int) -> Any:
                if os.getpid() != owner:
                    self.exit(status)
                raise ProcessExit(status)

            os._exit = refuse

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside:
                return
            os._exit = self.exit
            _flush(sys.stdout, sys.stderr)
            for number, kept in self._files.items():
                os.dup2(kept, number)
                os.close(kept)
            self._files = {}
            sys.stdout, sys.stderr = (
                _opened(stream, number)
                for stream, number in zip(self._streams, (_OUT, _ERR), strict=True)
            )
            vars(sys).update(zip(("__stdout__", "__stderr__"), self._first, strict=True))
            if self._directory is not None and _directory() != self._directory:
                os.chdir(self._directory)


_state = _State()


class isolated:  # noqa: N801 -- used as contextlib's are
    """Runs its block as the module says.

    Raises:
        ProcessExit: from the block, where it calls ``os._exit``.

    Attributes:
        interrupted: Whether Ctrl-C was pressed; a `KeyboardInterrupt` without it is the block's.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._before: Any = None

    def __enter__(self) -> isolated:
        self._owner = os.getpid()
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if callable(before):
                self._before = before
                signal.signal(signal.SIGINT, self._pressed)
        _state.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if os.getpid() != self._owner:
            # A fork that came back: this process has no task here.
            leave_process(0)
        _state.leave()
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        self._before(number, frame)


def leave_process(code: int) -> None:
    """End this process at once, also from inside of `isolated`."""
    _state.exit(code)


def threads_left() -> list[str]:
    """Names of threads that would keep this process from ending."""
    main = threading.main_thread()
    return [t.name for t in threading.enumerate() if t is not main and not t.daemon]


def _directory() -> str | None:
    with contextlib.suppress(OSError):
        return os.getcwd()  # noqa: PTH109 -- called often
    return None


def _flush(*streams: TextIO | None) -> None:
    for stream in streams:
        with contextlib.suppress(ValueError, OSError, AttributeError):
            if stream is not None:
                stream.flush()


def _opened(stream: TextIO, number: int) -> TextIO:
    """The stream, or another one for the same descriptor if it was closed."""
    if stream is None or not stream.closed:
        return stream
    codec, errors = stream.encoding, stream.errors
    return open(number, "w", encoding=codec, errors=errors, closefd=False)
