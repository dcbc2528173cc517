"""Connect to a Ray cluster, or start one that consists of this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from abtest.errors import UsageError

ADDRESS = "RAY_ADDRESS"
"""Ray's own environment variable: the cluster to use where none is named."""

_CLIENT = "ray://"
_CLIENT_PORT = 10001
_SECONDS = 10.0
_FORMS = "Give --address auto, HOST:PORT or ray://HOST:PORT, or leave it out for this machine"
_START = "Look at it with: ray status --address HOST:PORT. Start one with: ray start --head"

_TOKEN = "If the cluster asks for a token, as Ray 2.60 does by default: RAY_AUTH_MODE=token"


def ray_package() -> Any:
    """The package `ray`.

    Raises:
        UsageError: it is not installed.
    """
    # A process that needs more memory than its node has would be started again for ever.
    os.environ.setdefault("RAY_task_oom_retries", "2")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UsageError(
            "--engine ray needs the package ray, which is not installed.",
            "Install it: pip install 'abtest[ray]'",
        ) from None
    return ray


def named(address: str | None) -> str | None:
    """The address of the cluster to use, or None for one of this machine."""
    place = address or os.environ.get(ADDRESS)
    return None if place == "local" else place


@contextlib.contextmanager
def connected(address: str | None, workers: int) -> Iterator[Any]:
    """The package `ray`, connected.

    A connection that the program has already (a notebook's, for example) is used as it is and
    stays.

    Args:
        address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``. None takes the environment
            variable ``RAY_ADDRESS``, and without it a cluster of this machine that ends with the
            block.
        workers: Processes of a cluster of this machine.

    Raises:
        UsageError: there is no package, or no cluster answers.
    """
    ray = ray_package()
    if ray.is_initialized():
        yield ray
        return
    place = named(address)
    options: dict[str, Any] = {"logging_level": logging.ERROR}
    if place is None:
        options |= {"address": "local", "num_cpus": workers, "include_dashboard": False}
    else:
        _check_answer(place)
        options["address"] = place
    try:
        ray.init(**options)
    # Ray ends the process, with SystemExit, when what answers is no cluster.
    except (Exception, SystemExit) as error:
        ray.shutdown()
        where = "on this machine" if place is None else f"at {place}"
        hint = _TOKEN if place is not None and place.startswith(_CLIENT) else _START
        raise UsageError(f"no Ray cluster can be used {where}: {_first(error)}.", hint) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Refuse an address where nobody listens, which Ray itself takes minutes to say.

    Raises:
        UsageError: it is no address, or nobody listens there.
    """
    if address == "auto":
        return
    client = address.startswith(_CLIENT)
    try:
        parts = urlsplit(f"//{address.removeprefix(_CLIENT)}")
        host, port = parts.hostname, parts.port or (_CLIENT_PORT if client else None)
    except ValueError:
        host, port = None, None
    if host is None or port is None:
        raise UsageError(f"--address is '{address}', which is no address.", _FORMS)
    try:
        with socket.create_connection((host, port), _SECONDS):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"no Ray cluster answers at {address}: {reason}.", _START) from None


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    if isinstance(error, SystemExit) or not text:
        return "it did not answer in time"
    return text.rstrip(".")
