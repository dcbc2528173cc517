"""Where an experiment is computed: asked for in a way that can be, and without ray by default."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from abtest.errors import UsageError
from abtest.run import machines
from abtest.run.cluster import connection
from abtest.run.engines import LocalEngine
from abtest.run.machines import Machines
from abtest.run.simulate import SimulationSpec
from simulator.logs.dataset import Dataset
from tests.abtest.conftest import Result

Run = Callable[..., Result]


class Watch:
    """Remembers whether somebody asked for the package ray."""

    asked = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> None:
        self.asked |= name.split(".")[0] == "ray"


def test_the_local_engine_imports_no_ray(
    spec: SimulationSpec, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    monkeypatch.setattr(sys, "meta_path", [watch, *sys.meta_path])
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    for file in (machines.__file__, *Path(connection.__file__).parent.glob("*.py")):
        # Under another name: what others have imported stays as it is.
        again = importlib.util.spec_from_file_location(f"_again_{Path(str(file)).stem}", str(file))
        assert again is not None and again.loader is not None
        module = importlib.util.module_from_spec(again)
        monkeypatch.setitem(sys.modules, again.name, module)
        again.loader.exec_module(module)
    Machines().check()
    with Machines(workers=3).simulating(spec, dataset) as engine:
        assert isinstance(engine, LocalEngine) and engine.workers == 3
    assert not watch.asked
    # Whether there is a cluster, or one that another test has connected to, is not asked here.
    with contextlib.suppress(Exception):
        Machines("ray", address="127.0.0.1:1").check()
    assert watch.asked


def test_without_the_package_the_command_that_installs_it_is_named(
    abtest: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = abtest("run", "-t", "popular", "-c", "random", "--engine", "ray")
    assert result.code == 2
    assert "needs the package ray" in result.err
    assert "pip install 'abtest[ray]'" in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--engine", "dask"), "--engine is 'dask', expected local or ray"),
        (("--address", "auto"), "--address is the address of a Ray cluster. Add: --engine ray"),
    ],
)
def test_what_cannot_be_asked_for(abtest: Run, options: Sequence[str], text: str) -> None:
    result = abtest("run", "-t", "popular", "-c", "random", *options)
    assert result.code == 2 and text in result.err


@pytest.mark.parametrize("form", ["{}", "ray://{}"])
def test_a_cluster_that_does_not_answer_is_named(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = ModuleType("ray")
    ray.is_initialized = lambda: False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = form.format(f"127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(UsageError, match=f"no Ray cluster answers at {address}: .*refused"):
        Machines("ray", address=address).check()


@pytest.mark.parametrize("address", ["head", "10.0.0.1", "10.0.0.1:many", "ray://", ""])
def test_an_address_has_a_host_and_a_port(address: str) -> None:
    with pytest.raises(UsageError, match=r"which is no address\. .*HOST:PORT"):
        connection._check_answer(address)


def test_the_command_that_continues_a_run_names_the_machines() -> None:
    assert Machines().options() == ""
    assert Machines("ray").options() == " --engine ray"
    again = Machines("ray", address="ray://head:10001").options()
    assert again == " --engine ray --address ray://head:10001"
