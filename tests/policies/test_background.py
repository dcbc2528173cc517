from __future__ import annotations

import threading

import pytest

from policies.background import Background


def test_both_go_on_at_the_same_time() -> None:
    here, there = threading.Event(), threading.Event()

    def work() -> int:
        there.set()
        assert here.wait(10)
        return 7

    background = Background(work)
    assert there.wait(10), "the function starts before anybody asks for its result"
    here.set()
    assert background.result() == 7
    assert background.result() == 7


@pytest.mark.parametrize("error", [ValueError("no log"), SystemExit(3)])
def test_an_error_reaches_whoever_asks(error: BaseException) -> None:
    def work() -> None:
        raise error

    background = Background(work)
    with pytest.raises(type(error)) as caught:
        background.result()
    assert caught.value is error
