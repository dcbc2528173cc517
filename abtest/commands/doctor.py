"""Print what is installed, what works and where things are kept: `abtest doctor`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import textwrap

import typer

import abtest
from abtest.paths import cache_directory
from abtest.terminal import put

_PACKAGES = ("torch", "numpy", "scipy", "polars", "transformers", "matplotlib", "typer")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Versions, cores, memory, cache and plugins; exits 0 unless something cannot work."""
    import torch

    from abtest import plugins
    from abtest.results.metrics import BUILT_IN_METRICS
    from policies.registry import describe_all, plugin_warnings
    from simulator.devices import devices

    put(f"abtest        {abtest.__version__}")
    put(f"python        {platform.python_version()} ({sys.executable})")
    for package in _PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "missing. Install: pip install -e ."
        put(f"{package:<13} {version}")
    put(f"cores         {len(os.sched_getaffinity(0))}")
    here = devices()
    name = f" ({torch.cuda.get_device_name(0)})" if here[0] == "cuda" else ""
    put(f'devices       {", ".join(here)}; device = "auto" takes {here[0]}{name}')
    cache = cache_directory()
    place = cache
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    writable = "" if os.access(place, os.W_OK) else ", NOT WRITABLE. Set ABTEST_CACHE"
    put(f"cache         {cache} ({free:.0f} GiB free{writable})")
    names = "policies      " + ", ".join(r.name for r in describe_all())
    put(textwrap.fill(names, 80, subsequent_indent=" " * 14, break_on_hyphens=False))
    for group, found in plugins.names().items():
        if found:
            put(f"plugins       {group}: {', '.join(found)}")
    for warning in [*plugin_warnings(), *plugins.warnings(BUILT_IN_METRICS)]:
        put(textwrap.fill(f"warning       {warning}", 80, subsequent_indent=" " * 14))
