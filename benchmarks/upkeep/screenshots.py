"""Make the README's picture of a report: a small run, shown in Chromium, as docs/report.png.

    python -m benchmarks.upkeep.screenshots                  run, report, picture
    python -m benchmarks.upkeep.screenshots --run runs/x     the picture of a run that is there

Needs Chromium (`apt-get install chromium`). The picture stays below 300 KB.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="a run directory; otherwise a small run is made")
    parser.add_argument("--out", type=Path, default=DOCS / "report.png")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=760)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = asked.run or Path(folder) / "run"
        if asked.run is None:
            command = [sys.executable, "-m", "abtest", *RUN, "--out", str(run)]
            subprocess.run(command, check=True)
        picture(run / "report.html", asked.out, width=asked.width, height=asked.height)
    print(f"{asked.out}: {asked.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
