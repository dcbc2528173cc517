"""List what is installed: versions against the constraints, licences, known vulnerabilities.

    python -m benchmarks.upkeep.audit

Vulnerabilities need pip-audit and its database; without them, that is said. The exit code is 1 if a
version differs, a licence is missing or a vulnerability is known.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from abtest.tables import table

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
_UNKNOWN = "unknown"


def main() -> None:
    """Print the table and what is wrong."""
    problems, rows = [], []
    text = CONSTRAINTS.read_text(encoding="utf-8")
    needed = {name for name, _ in pinned(text.partition("# Extras")[0])}
    for name, wanted in pinned(text):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            if name in needed:
                problems.append(f"{name} {wanted} is not installed")
            continue
        if found.version.partition("+")[0] != wanted:
            problems.append(f"{name} is {found.version}, constraints.txt says {wanted}")
        terms = licence(found)
        if terms == _UNKNOWN:
            problems.append(f"{name} names no licence")
        rows.append([name, found.version, terms[:50]])
    print(table(rows, header=["package", "version", "licence"]))
    problems += vulnerabilities()
    print("\n".join(problems))
    sys.exit(1 if problems else 0)


def pinned(text: str) -> Iterator[tuple[str, str]]:
    """Names and versions of lines ``NAME==VERSION``."""
    for line in text.splitlines():
        match = re.match(r"([\w.-]+)==([^\s;\\]+)", line)
        if match:
            yield match[1], match[2]


def licence(found: Distribution) -> str:
    """The licence that a package's metadata names, in one line."""
    fields = found.metadata.json
    if expression := fields.get("license_expression"):
        return str(expression)
    named = [
        value.rsplit(" :: ", 1)[-1]
        for value in fields.get("classifier") or []
        if value.startswith("License ::")
    ]
    free = str(fields.get("license") or "").strip().splitlines()
    return ", ".join(named) or (free[0] if free else _UNKNOWN)


def vulnerabilities() -> list[str]:
    """What pip-audit knows of the constraints; says on standard error where it cannot tell."""
    program = shutil.which("pip-audit")
    if program is None:
        print("vulnerabilities: not checked, pip-audit is not installed", file=sys.stderr)
        return []
    command = [program, "--requirement", str(CONSTRAINTS), "--no-deps", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return []
    if "Found" not in done.stderr:
        reason = done.stderr.strip().splitlines()[-1:] or ["no answer"]
        print(f"vulnerabilities: not checked: {reason[0][:200]}", file=sys.stderr)
        return []
    return done.stdout.strip().splitlines()


if __name__ == "__main__":
    main()
