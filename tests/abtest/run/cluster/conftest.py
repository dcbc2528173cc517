"""A small world's simulation, and a Ray cluster of two nodes on this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from abtest.console import Console
from abtest.run.arms.training import train
from abtest.run.environments import EnvironmentSpec
from abtest.run.simulate import SimulationSpec
from simulator.logs.dataset import Dataset

GROUPS = 5
WITHOUT_RAY = "ray is not installed: pip install -e '.[ray]' --constraint constraints.txt"
STORE_BYTES = 80 << 20
"""Of each node: Ray's smallest is 75 MB."""


@pytest.fixture(scope="session")
def dataset(small_log: Path) -> Dataset:
    return Dataset.open(small_log)


@pytest.fixture(scope="session")
def spec(dataset: Dataset, shared_cache: Path) -> SimulationSpec:
    """Five groups of 30 people, one day, with a log."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABTEST_CACHE", str(shared_cache))
        quiet = Console(quiet=True)
        policies = tuple(
            train(name, {}, dataset, seed=1, console=quiet) for name in ("random", "popular")
        )
    return SimulationSpec(
        environment=EnvironmentSpec("world", str(dataset.path), "", 1, 1, 1),
        arms=("random", "popular"),
        policies=policies,
        twin=False,
        people=30 * GROUPS,
        days=1,
        seed=1,
        explore_share=0.05,
        explore_comments=0.05,
        keep_log=True,
        group_size=30,
    )


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of one core each; this process is connected to them."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip(WITHOUT_RAY)
    from abtest.run.cluster.connection import connected, ray_package

    ray_package()
    from ray.cluster_utils import Cluster

    root = str(Path(__file__).parents[4])
    with pytest.MonkeyPatch.context() as patch:
        # Nodes find the program and these tests where this process has them.
        patch.setenv("PYTHONPATH", root)
        patch.setenv("ABTEST_CACHE", str(tmp_path_factory.mktemp("cache-of-nodes")))
        # Ray's workers are nice by 15: beside other tests they would hardly run.
        patch.setenv("RAY_worker_niceness", "0")
        nodes = Cluster()
        nodes.add_node(num_cpus=1, object_store_memory=STORE_BYTES, include_dashboard=False)
        nodes.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        try:
            with connected(nodes.address, 1):
                yield nodes
        finally:
            nodes.shutdown()
