"""Name videos, comments and people by the ids of the log where a policy is at fault."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from policies.errors import PolicyContractError
from simulator.calendar import china_ms
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset


def named(
    error: PolicyContractError, catalogue: Catalogue, user: Callable[[int], object]
) -> PolicyContractError:
    """The same error with ids in place of numbers of this program.

    Args:
        error: Of a policy.
        catalogue: Where its numbers of videos and comments point.
        user: The id of the person with a number.
    """
    if error.place is None and error.asked is None:
        return error
    if error.place is None:
        return type(error)(
            f"{error.problem.removesuffix('.')}, asked for {_request(error, user)}.",
            error.hint,
            trace=error.trace,
        )
    what, item, person = error.place
    ids = catalogue.video_ids if what == "video" else catalogue.comment_ids
    name = error.problem.split(" returned ")[0]
    return type(error)(
        f"{name} returned a non-finite score for {what} {ids[item]} (user {user(person)}).",
        error.hint,
    )


@contextlib.contextmanager
def ids_in_errors(catalogue: Catalogue, user: Callable[[int], object]) -> Iterator[None]:
    """Let errors of policies in this block name ids; see `named`."""
    try:
        yield
    except PolicyContractError as error:
        if error.place is None and error.asked is None:
            raise
        raise named(error, catalogue, user) from error


def _request(error: PolicyContractError, user: Callable[[int], object]) -> str:
    """Which one it was, or the first of how many."""
    assert error.asked is not None
    count, person, time_ms = error.asked
    moment = datetime.fromtimestamp(china_ms(time_ms) / 1e3, UTC)
    first = f"user {user(person)} at {moment:%Y-%m-%d %H:%M}"
    return first if count == 1 else f"{count:,} requests, the first of {first}"


def user_id(dataset: Dataset, user: int) -> str:
    """Of a user of the log; of a stranger, what people call one."""
    ids = dataset.user_ids()
    return str(ids[user]) if user < len(ids) else "without a history"
