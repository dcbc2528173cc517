"""Print results on standard output, whatever encoding it has.

What the encoding lacks is written in ASCII: a true minus as ``-``, other letters escaped.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from typing import Any, TextIO

_HANDLER = "abtest.plain"
_COLOURS = re.compile(r"(\x1b\[[\d;]*m)")


def prepare() -> None:
    """Make standard output and error accept every text, also what libraries print there."""
    from reports.formats import encodable

    def written(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        return encodable(error.object[error.start : error.end], "ascii"), error.end

    codecs.register_error(_HANDLER, written)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def flowing(text: str) -> str:
    """A docstring whose paragraphs and entries are one line each, to be wrapped where it is shown.

    A line goes on with the one before if that has the same indent of none, or if the line is
    further in, unless the one before announces a block with a colon.
    """
    lines: list[str] = []
    start = 0
    for line in text.splitlines():
        inside = len(line) - len(line.lstrip())
        before = lines[-1] if lines else ""
        goes_on = inside > start or inside == start == 0
        if before and line.strip() and goes_on and not before.endswith(":"):
            lines[-1] = f"{before} {line.strip()}"
            continue
        lines.append(line.rstrip())
        start = inside
    return "\n".join(lines)


def encoding_of(stream: TextIO | None = None) -> str:
    """The encoding of standard output, or of another stream; UTF-8 for those without one."""
    return getattr(stream or sys.stdout, "encoding", None) or "utf-8"


def put(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print a text on standard output or standard error.

    Control characters other than colours, line ends and tabs are shown as escapes.
    """
    from reports.formats import encodable, visible

    stream = sys.stderr if err else sys.stdout
    parts = _COLOURS.split(text)
    shown = "".join(p if _COLOURS.fullmatch(p) else visible(p, kept="\n\t") for p in parts)
    stream.write(encodable(shown, encoding_of(stream)) + ("\n" if nl else ""))
    stream.flush()


def put_json(document: Any) -> None:
    """Print a document, or its JSON text; letters that the encoding lacks are JSON escapes."""
    text = document
    if not isinstance(document, str):
        text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    try:
        text.encode(encoding_of())
    except UnicodeEncodeError:
        text = "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)
    sys.stdout.write(text)
    sys.stdout.flush()
