"""Print what is installed, what works and where things are kept: `abtest doctor`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import textwrap
from typing import Any

import typer

import abtest
from abtest.commands import options
from abtest.paths import cache_directory
from abtest.terminal import put, put_json

_PACKAGES = ("torch", "numpy", "scipy", "polars", "transformers", "matplotlib", "typer")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("doctor")(doctor)


def doctor(as_json: options.Json = False) -> None:
    """Versions, cores, devices, cache and plugins; exits 0 unless something cannot work."""
    found = _facts()
    if as_json:
        put_json(found)
        return
    put(f"abtest        {found['abtest']}")
    put(f"python        {found['python']} ({found['executable']})")
    for package, version in found["packages"].items():
        put(f"{package:<13} {version or 'missing. Install: pip install -e .'}")
    put(f"cores         {found['cores']}")
    fastest, name = found["devices"][0], found["gpu"]
    shown = f" ({name})" if name else ""
    put(f'devices       {", ".join(found["devices"])}; device = "auto" takes {fastest}{shown}')
    cache = found["cache"]
    writable = "" if cache["writable"] else ", NOT WRITABLE. Set ABTEST_CACHE"
    put(f"cache         {cache['path']} ({cache['free_bytes'] / 2**30:.0f} GiB free{writable})")
    _put_wrapped("policies", ", ".join(found["policies"]))
    for group, names in found["plugins"].items():
        if names:
            put(f"plugins       {group}: {', '.join(names)}")
    for warning in found["warnings"]:
        _put_wrapped("warning", warning)


def _facts() -> dict[str, Any]:
    """What `doctor` prints."""
    import torch

    from abtest import plugins
    from abtest.results.metrics import BUILT_IN_METRICS
    from policies.registry import describe_all, plugin_warnings
    from simulator.devices import devices

    here = devices()
    cache = cache_directory()
    place = cache
    while not place.exists():
        place = place.parent
    return {
        "abtest": abtest.__version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": {package: _version(package) for package in _PACKAGES},
        "cores": len(os.sched_getaffinity(0)),
        "devices": list(here),
        "gpu": torch.cuda.get_device_name(0) if here[0] == "cuda" else None,
        "cache": {
            "path": str(cache),
            "free_bytes": shutil.disk_usage(place).free,
            "writable": os.access(place, os.W_OK),
        },
        "policies": [record.name for record in describe_all()],
        "plugins": {group: list(names) for group, names in plugins.names().items()},
        "warnings": [*plugin_warnings(), *plugins.warnings(BUILT_IN_METRICS)],
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _put_wrapped(label: str, text: str) -> None:
    line = f"{label:<13} {text}"
    put(textwrap.fill(line, 80, subsequent_indent=" " * 14, break_on_hyphens=False))
