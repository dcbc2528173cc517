"""Run a benchmark by name and, if asked, keep what it prints as a page in the look of the reports.

python -m benchmarks                                       what there is
python -m benchmarks models.ranking_cost --world small     the same as -m benchmarks.models...
python -m benchmarks order --world small --html order.html
"""

from __future__ import annotations

import ast
import io
import os
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import TextIO

from benchmarks.lib.pages import sections_of
from reports.render.page import render_page, write_page

HERE = Path(__file__).parent
_WIDE = "200"
"""Columns for tables that go into a page: nothing is wrapped."""


def main() -> None:
    """Run the benchmark that the first word names; its exit code is the one of this command."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        print("\n".join(f"{name:28} {line}" for name, line in known().items()))
        return
    name, *rest = words
    if name not in known():
        sys.exit(f"no benchmark '{name}'. See: python -m benchmarks")
    page = None
    if "--html" in rest:
        at = rest.index("--html")
        if at + 1 == len(rest):
            sys.exit("--html needs a file, as in --html page.html")
        page = Path(rest[at + 1])
        del rest[at : at + 2]
        os.environ["COLUMNS"] = _WIDE
    command = shlex.join(["python", "-m", f"benchmarks.{name}", *rest])
    told = _Tee(sys.stdout)
    code: object = 0
    sys.argv = [name, *rest]
    sys.stdout = told
    try:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stdout = told.stream
    if page is not None and told.getvalue():
        text = render_page(
            known()[name].rstrip("."),
            sections_of(told.getvalue()),
            kicker=f"Benchmark {name}",
            command=command,
        )
        write_page(text, page)
        print(f"page: {page}", file=sys.stderr)
    sys.exit(code if isinstance(code, int | str | None) else 1)


def known() -> dict[str, str]:
    """Names of the benchmarks, and the first line of each."""
    found = {}
    for path in sorted(HERE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name == "__init__.py" or path == Path(__file__) or "if __name__ ==" not in text:
            continue
        parts = path.relative_to(HERE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__main__" else parts)
        said = ast.get_docstring(ast.parse(text)) or ""
        found[name] = re.split(r"\n\s*\n", said)[0].replace("\n", " ")
    return found


class _Tee(io.StringIO):
    """Remembers what is printed, and prints it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    def write(self, text: str) -> int:
        """Both."""
        self.stream.write(text)
        return super().write(text)

    def flush(self) -> None:
        """Of the stream."""
        self.stream.flush()


if __name__ == "__main__":
    main()
