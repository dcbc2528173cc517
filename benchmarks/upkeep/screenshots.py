"""Make the README's picture of a report: a small run, shown in Chromium, as docs/report.png.

    python -m benchmarks.upkeep.screenshots                  run, report, picture
    python -m benchmarks.upkeep.screenshots --run runs/x     the picture of a run that is there
    python -m benchmarks.upkeep.screenshots --example better the picture of docs/report.md: an
                                                             example of docs/examples, numbered

Needs Chromium (`apt-get install chromium`). The picture stays below 300 KB.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from reports.render.html import render_html
from reports.results import ExperimentResult

DOCS = Path(__file__).parents[2] / "docs"
LIMIT = 300_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
RUN = (
    "run", "--treatment", "oracle", "--control", "popular", "--world", "small",
    "--log-users", "600", "--users", "2048", "--days", "2",
)  # fmt: skip


def picture(page: Path, target: Path, *, width: int, height: int) -> None:
    """A PNG of the top of a page.

    Raises:
        SystemExit: there is no browser, or it made nothing.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit("no Chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        arguments = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            f"--screenshot={target}",
            page.resolve().as_uri(),
        ]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode or not target.is_file():
        raise SystemExit(f"{browser} made no picture:\n{done.stderr[-2000:]}")
    if target.stat().st_size > LIMIT:
        raise SystemExit(f"{target} has {target.stat().st_size:,} bytes, more than {LIMIT:,}")


MARKS = (
    ".verdict .sentence",
    ".verdict .decision",
    "details.checks .checks-head",
    ".evidence .evidence-head:not([id])",
    ".evidence .evidence-head[id]",
)
"""What docs/report.md explains, in its order."""


def numbered(page: str) -> str:
    """The page with a number before each part that docs/report.md explains."""
    badge = (
        "display:inline-block;min-width:1.5em;margin-right:.5em;border-radius:1em;background:#b3261e;"
        "color:#fff;font:700 1rem/1.5 sans-serif;text-align:center"
    )
    rules = "".join(
        f'{part}::before{{content:"{number}";{badge}}}' for number, part in enumerate(MARKS, 1)
    )
    return page.replace("</style>", f"{rules}</style>", 1)


def example(name: str, folder: Path) -> Path:
    """A numbered page of docs/examples."""
    text = (DOCS / "examples" / name / "results.json").read_text(encoding="utf-8")
    page = folder / "report.html"
    page.write_text(numbered(render_html(ExperimentResult.from_json(text))), encoding="utf-8")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="a run directory; otherwise a small run is made")
    parser.add_argument("--example", help="a folder of docs/examples; its parts are numbered")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int)
    asked = parser.parse_args()
    height = asked.height or (760 if asked.example is None else 1500)
    out = asked.out or DOCS / ("report.png" if asked.example is None else "report-annotated.png")
    with tempfile.TemporaryDirectory() as folder:
        if asked.example is not None:
            page = example(asked.example, Path(folder))
            picture(page, out, width=asked.width, height=height)
            print(f"{out}: {out.stat().st_size:,} bytes")
            return
        run = asked.run or Path(folder) / "run"
        if asked.run is None:
            command = [sys.executable, "-m", "abtest", *RUN, "--out", str(run)]
            subprocess.run(command, check=True)
        picture(run / "report.html", out, width=asked.width, height=height)
        print(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
