"""Keep a hash of every file of trained weights, and find damage before anything is simulated."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from abtest.files import write_text
from policies.errors import CheckpointError, PolicyContractError

SUMMARY = "summary.json"
MANIFEST = "manifest.json"


def write_summary(directory: Path, spec: str, facts: dict[str, Any]) -> None:
    """Write what a policy says of its training, then the hashes of all files.

    Raises:
        PolicyContractError: the facts are no JSON.
    """
    try:
        text = json.dumps(facts, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PolicyContractError(
            f"{spec}: training_summary() is no JSON: {error}.",
            "Return a dict of texts, finite numbers, lists and dicts",
        ) from None
    write_text(directory / SUMMARY, text)
    write_text(directory / MANIFEST, json.dumps(_hashes(directory), indent=1, sort_keys=True))


def check_weights(directory: Path, spec: str) -> str:
    """The hash of all weights, after comparing every file with what training wrote.

    Raises:
        CheckpointError: a file is missing, changed or new.
    """
    try:
        written = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        json.loads((directory / SUMMARY).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise damaged(spec, directory, f"{Path(error.filename).name} is missing") from None
    except (ValueError, OSError, RecursionError) as error:
        raise damaged(spec, directory, f"{error}") from None
    found = _hashes(directory)
    if not isinstance(written, dict) or written != found:
        names = sorted(found.keys() | (written.keys() if isinstance(written, dict) else set()))
        if not isinstance(written, dict):
            raise damaged(spec, directory, f"{MANIFEST} is no table")
        name = next(n for n in names if found.get(n) != written.get(n))
        if name not in found:
            problem = f"{name} is missing"
        elif name not in written:
            problem = f"{name} was not written by training"
        else:
            problem = f"{name} is not what training wrote"
        raise damaged(spec, directory, problem)
    return hashlib.blake2b(json.dumps(found, sort_keys=True).encode(), digest_size=8).hexdigest()


def damaged(spec: str, directory: Path, problem: str) -> CheckpointError:
    """The error of weights that cannot be used."""
    return CheckpointError(
        f"weights of {spec} are damaged: {problem.rstrip('.')}.",
        f"Retrain: remove them and give the command again: rm -r {directory}",
    )


def _hashes(directory: Path) -> dict[str, str]:
    """Relative path -> hash of the bytes, of every file but the manifest itself."""
    hashes = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path != directory / MANIFEST:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
            hashes[path.relative_to(directory).as_posix()] = digest.hexdigest()
    return hashes
