"""Read the bytes of a text file: unpacked, as UTF-8, block by block."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from simulator.errors import DataError

BLOCK = 1 << 23
_SAMPLE = 1 << 18
_SHEETS = (".xlsx", ".xlsm", ".ods", ".numbers")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ALIASES = {"gb2312": "gb18030", "gbk": "gb18030", "cp936": "gb18030"}
_NAMES = {"utf-8": "UTF-8", "gb18030": "GBK", "iso8859-1": "Latin-1", "cp1252": "cp1252"}


@dataclass(frozen=True)
class Encoding:
    r"""How the bytes of a file are to be read.

    Attributes:
        codec: Python's name of it.
        mark: Whether a file in UTF-8 begins with a byte order mark.
        lone_returns: Whether lines end in ``\r`` alone.
    """

    codec: str = "utf-8"
    mark: bool = False
    lone_returns: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return _NAMES.get(self.codec, self.codec.upper())


@dataclass(frozen=True)
class Broken:
    """One byte that is not text.

    Attributes:
        offset: In the block it belongs to, after the bad bytes were replaced.
        byte: Its value.
    """

    offset: int
    byte: int


def codec_of(name: str) -> str:
    """Python's name of an encoding that a user names.

    Raises:
        DataError: there is no such encoding of texts.
    """
    try:
        info = codecs.lookup(name.strip())
        "".encode(info.name)
        # Some (IDNA, Punycode) cannot go on after a byte that they do not know.
        codecs.getincrementaldecoder(info.name)(errors="abtest.note").decode(b"\xff\xfe")
    except (LookupError, ValueError, TypeError, UnicodeError):
        raise DataError(
            f"there is no encoding '{name}'.", "Known are utf-8, utf-16, gbk, latin-1, cp1252, ..."
        ) from None
    return _ALIASES.get(info.name, info.name)


@contextmanager
def opened(path: Path, told: Callable[[float], None] | None = None) -> Iterator[BinaryIO]:
    """The unpacked bytes of a file; what packs it is told by its first bytes.

    Args:
        path: The file.
        told: Told bytes of the file as it lies on disk, whenever some more have been read.

    Raises:
        DataError: it cannot be read, is damaged, or is an archive.
    """
    try:
        with path.open("rb") as raw:
            start = raw.read(6)
            raw.seek(0)
            yield _unpacked(raw if told is None else _Watched(raw, told), start, path)
    except (zlib.error, EOFError, gzip.BadGzipFile, lzma.LZMAError, zstandard.ZstdError) as error:
        raise DataError(
            f"{path} is damaged: {str(error) or 'it ends too early'}.", "Copy or download it again"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None


def _unpacked(raw: BinaryIO, start: bytes, path: Path) -> BinaryIO:
    if start.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return cast(BinaryIO, _Zstd(raw))
    if start.startswith(b"BZh"):
        return cast(BinaryIO, bz2.BZ2File(raw))
    if start.startswith(b"\xfd7zXZ\x00"):
        return cast(BinaryIO, lzma.LZMAFile(raw))
    if start.startswith(b"PK\x03\x04"):
        if path.suffix.lower() in _SHEETS:
            raise DataError(f"{path} is a spreadsheet.", "Save it as CSV first")
        raise DataError(f"{path} is a zip archive.", "Unpack it first")
    return raw


class _Watched(io.BufferedReader):
    """A file that tells how much of it has been read.

    Args:
        raw: The file.
        told: Told bytes.
    """

    def __init__(self, raw: BinaryIO, told: Callable[[float], None]) -> None:
        super().__init__(cast(io.RawIOBase, raw))
        self._told = told

    def read(self, size: int | None = -1, /) -> bytes:
        got = super().read(size)
        self._told(len(got))
        return got


class _Zstd(io.RawIOBase):
    """Unpack zstd frames; little is unpacked at once, and a cut frame is an error.

    Args:
        raw: The packed bytes.
    """

    _PIECE = 1 << 12

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False
        self._ready = b""

    def read(self, size: int = -1) -> bytes:
        while not self._ready:
            piece = self._raw.read(self._PIECE)
            if not piece:
                if self._begun:
                    raise EOFError("the compressed file ends in the middle")
                return b""
            self._ready = self._unpack(piece)
        end = len(self._ready) if size < 0 else size
        part, self._ready = self._ready[:end], self._ready[end:]
        return part

    def _unpack(self, piece: bytes) -> bytes:
        parts = []
        while piece:
            self._begun = True
            parts.append(self._frame.decompress(piece))
            piece = b""
            if self._frame.eof:
                piece = self._frame.unused_data
                self._frame = zstandard.ZstdDecompressor().decompressobj()
                self._begun = False
        return b"".join(parts)


def detect(path: Path, wanted: str | None) -> Encoding:
    """The encoding of a file, from its first bytes.

    UTF-8 unless a byte order mark or zero bytes say otherwise: other encodings cannot be told from
    one another for certain, so they have to be named.

    Args:
        path: The file.
        wanted: The encoding that the user names, None to find out.
    """
    with opened(path) as file:
        sample = file.read(_SAMPLE)
    mark = next(((m, name) for m, name in _MARKS if sample.startswith(m)), None)
    if wanted is not None:
        codec = codec_of(wanted)
        codec = _with_order("utf-8" if codec == "utf-8-sig" else codec, sample)
    else:
        codec = _by_zeros(sample) if mark is None else mark[1]
    text = sample.decode(codec, errors="ignore")
    marked = codec == "utf-8" and sample.startswith(codecs.BOM_UTF8)
    return Encoding(codec, marked, "\r" in text and "\n" not in text)


def _with_order(codec: str, sample: bytes) -> str:
    """UTF-16 and UTF-32 without a byte order mark are taken as their most common form."""
    marked = any(name == codec and sample.startswith(mark) for mark, name in _MARKS)
    return f"{codec}-le" if codec in ("utf-16", "utf-32") and not marked else codec


def _by_zeros(sample: bytes) -> str:
    """UTF-16 without a mark has a zero in every second byte of what is ASCII."""
    pairs = len(sample) // 2
    if pairs:
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        if odd > 0.4 * pairs and even < 0.05 * pairs:
            return "utf-16-le"
        if even > 0.4 * pairs and odd < 0.05 * pairs:
            return "utf-16-be"
    return "utf-8"


_noted: list[int] = []
"""Bytes that the decoding under way could not read."""


def _note(error: UnicodeError) -> tuple[str, int]:
    """Put U+FFFD in the place of what cannot be decoded."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    _noted.append(error.object[error.start])
    return "\ufffd", error.end


codecs.register_error("abtest.note", _note)


def blocks(
    path: Path, encoding: Encoding, told: Callable[[float], None] | None = None
) -> Iterator[tuple[bytes, list[int]]]:
    """UTF-8 blocks of a file, and values of bytes that could not be read in each.

    A file in UTF-8 passes as it is and is checked where it is cut into lines. In other encodings,
    what cannot be read has become U+FFFD.

    Args:
        path: The file.
        encoding: Of its bytes.
        told: As of `opened`.

    Raises:
        DataError: the file cannot be read or unpacked.
    """
    with opened(path, told) as file:
        if encoding.codec == "utf-8":
            if encoding.mark:
                file.read(len(codecs.BOM_UTF8))
            while block := _full(file):
                yield (block.replace(b"\r", b"\n") if encoding.lone_returns else block), []
            return
        decoder = codecs.getincrementaldecoder(encoding.codec)(errors="abtest.note")
        while True:
            block = _full(file)
            _noted.clear()
            text = decoder.decode(block, final=not block)
            broken = list(_noted)
            if encoding.lone_returns:
                text = text.replace("\r", "\n")
            yield text.encode("utf-8", errors="replace"), broken
            if not block:
                return


def _full(file: BinaryIO) -> bytes:
    """The next block, full unless the file ends."""
    parts, missing = [], BLOCK
    while missing and (part := file.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def checked(data: bytes) -> tuple[bytes, list[Broken]]:
    """UTF-8 with broken bytes replaced by U+FFFD, and where they were."""
    if data.isascii():
        return data, []
    broken: list[Broken] = []
    good: list[bytes] = []
    length = start = 0
    while True:
        try:
            data[start:].decode("utf-8")
        except UnicodeDecodeError as error:
            part = data[start : start + error.start]
            good += [part, b"\xef\xbf\xbd"]
            broken.append(Broken(length + len(part), data[start + error.start]))
            length += len(part) + 3
            start += error.end
            if len(broken) >= 50:
                # A file in another encoding: mark the rest in one go.
                rest = data[start:].decode("utf-8", errors="replace").encode("utf-8")
                at = rest.find(b"\xef\xbf\xbd")
                while at >= 0:
                    broken.append(Broken(length + at, 0))
                    at = rest.find(b"\xef\xbf\xbd", at + 3)
                return b"".join([*good, rest]), broken
            continue
        if not broken:
            return data, []
        return b"".join([*good, data[start:]]), broken


def guess(raw: bytes) -> str | None:
    """Which encoding bytes that are not UTF-8 may be in: "gbk", "latin-1", "cp1252", or None.

    None where most of what is beyond ASCII is UTF-8: then single bytes are broken. Bytes beyond
    ASCII come in pairs in Chinese text, and mostly alone in that of Europe: "Ös" is a Chinese
    character too.
    """
    text = raw.decode("utf-8", errors="replace")
    good = sum(1 for c in text if c > "\x7f" and c != "\ufffd")
    bad = text.count("\ufffd")
    if good >= bad:
        return None
    # Of Windows are the euro sign and curved quotes, where Latin-1 has control characters.
    western = "cp1252" if re.search(rb"[\x80-\x9f]", raw) else "latin-1"
    runs = re.findall(rb"[\x80-\xff]+", raw)
    if 2 * sum(len(run) == 1 for run in runs) > len(runs):
        return western
    try:
        chinese = raw.decode("gb18030")
    except UnicodeDecodeError:
        return western
    beyond = [c for c in chinese if c > "\x7f"]
    han = sum(1 for c in beyond if "\u4e00" <= c <= "\u9fff" or "\u3000" <= c <= "\u303f")
    return "gbk" if beyond and han >= 0.9 * len(beyond) else western
