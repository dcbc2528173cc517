"""Run a function in a thread of its own, beside the caller's work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """What a function returns, computed while the caller goes on.

    Numpy and torch let other threads work during long operations, so two independent computations
    use two cores. The thread is a daemon: it never keeps a process that wants to end.

    Args:
        function: Draws nothing from a global generator, and changes nothing that the caller reads.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._found: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Wait for the end.

        Raises:
            BaseException: whatever the function raised.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found[0]

    def _run(self) -> None:
        try:
            self._found.append(self._function())
        except BaseException as error:
            self._error = error
