"""A package with a policy is built, installed into a fresh environment and used."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from abtest.policy_tools.new import policy_source

ROOT = Path(__file__).parents[3]
TUTORIAL = ROOT / "docs" / "policy-tutorial.md"


def _run(*words: object, cwd: Path, cache: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(w) for w in words],
        cwd=cwd,
        env={**environment, "ABTEST_CACHE": str(cache), "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_package_of_a_policy_is_installed_and_used(
    tmp_path: Path, shared_cache: Path, small_log: Path
) -> None:
    for needed in ("pip", "setuptools", "venv"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: a package cannot be built")
    package, fresh = tmp_path / "package", tmp_path / "fresh"
    package.mkdir()
    (project,) = re.findall(r"```toml\n(.+?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
    (package / "pyproject.toml").write_text(project, encoding="utf-8")
    (package / "my_policy.py").write_text(policy_source("my_policy"), encoding="utf-8")
    _run(sys.executable, "-m", "venv", "--without-pip", fresh, cwd=tmp_path, cache=shared_cache)
    python = fresh / "bin" / "python"
    (inside,) = (fresh / "lib").glob("python*/site-packages")
    # What is installed here can be used there; nothing is fetched.
    here = sysconfig.get_path("purelib")
    (inside / "here.pth").write_text(f"{here}\n{ROOT}\n", encoding="utf-8")
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
         "--no-build-isolation", package, cwd=tmp_path, cache=shared_cache)  # fmt: skip
    assert (inside / "my_policy.py").is_file()
    # One process, as each takes seconds to start: it is found by its name, learns and is kept.
    code = (
        "import sys\nfrom abtest.cli import run_cli\n"
        "codes = [run_cli(['policy', 'show', 'acme-likes']),\n"
        "         run_cli(['train', 'acme-likes', '--data', sys.argv[1], '--quiet'])]\n"
        "sys.exit(max(codes))\n"
    )
    told = _run(python, "-c", code, small_log, cwd=tmp_path, cache=shared_cache)
    assert "acme-likes  (my_policy.MyPolicy)" in told
    (weights,) = shared_cache.glob("policies/acme-likes-*")
    assert (weights / "popularity.npy").is_file()
