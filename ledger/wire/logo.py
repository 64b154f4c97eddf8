"""Reads a logo: a PNG or SVG that shows itself and nothing else, and takes no more than its bytes.

What could run, be fetched or look different elsewhere is refused, whoever would draw it.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack

from ledger.wire.errors import FieldError
from ledger.wire.xml import Element, parse_xml

BYTES_MAX = 100_000
PIXELS_MAX = 4_000_000
ELEMENTS_MAX = 5_000
PNG, SVG = "image/png", "image/svg+xml"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Samples of a pixel by the colour type of PNG, and the bits that each may have.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
# Shapes and colours; text would be set in whatever font a machine has, and nothing repeats.
_ELEMENTS = frozenset(
    {
        *("svg", "g", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon"),
        *("defs", "linearGradient", "radialGradient", "stop", "clipPath", "mask", "title", "desc"),
    }
)
_URL = re.compile(r"url\s*\(\s*[\"']?\s*(?!#)|@import|javascript:|data:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Logo:
    """An image as its bytes, which are of `media_type`."""

    media_type: str
    content: bytes


def read_logo(content: bytes) -> Logo:
    """The image; FieldError says what about it is refused."""
    if len(content) > BYTES_MAX:
        raise FieldError(f"send an image of at most {BYTES_MAX:,} bytes")
    if content.startswith(_SIGNATURE):
        _check_png(content)
        return Logo(PNG, content)
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        _check_svg(content)
        return Logo(SVG, content)
    raise FieldError("send a PNG or an SVG")


def _check_svg(content: bytes) -> None:
    if b"<?xml-stylesheet" in content:
        raise FieldError("send an SVG without a stylesheet")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise FieldError("send an SVG in UTF-8") from error
    root = parse_xml(content)
    if root.tag != "svg":
        raise FieldError(f"send an SVG, not <{root.tag[:40]}>")
    for count, element in enumerate(root.walk()):
        if count >= ELEMENTS_MAX:
            raise FieldError(f"send an SVG of at most {ELEMENTS_MAX:,} elements")
        _check_element(element)


def _check_element(element: Element) -> None:
    if element.tag not in _ELEMENTS:
        raise FieldError(f"send an SVG of shapes, without <{element.tag[:40]}>")
    for name, value in element.attributes.items():
        local = name.rpartition(" ")[2].lower()
        refers = (local == "href" and not value.strip().startswith("#")) or local == "base"
        if local.startswith("on") or refers or _URL.search(value):
            raise FieldError(f"send an SVG that refers to nothing outside it, without {local[:40]}")


def _check_png(content: bytes) -> None:
    """A header, data that unpack to what it promises, and an end behind which nothing comes."""
    packed = b""
    chunks = _chunks(content)
    name, header = next(chunks)
    if name != b"IHDR" or len(header) != 13:
        raise FieldError("send a whole PNG: its header is missing")
    most = _unpacked_max(header)
    for name, data in chunks:
        if name == b"IDAT":
            packed += data
        elif name == b"IEND":
            break
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(packed, most + 1)
    except zlib.error as error:
        raise FieldError("send a whole PNG: its data cannot be unpacked") from error
    if len(plain) > most or not unpacker.eof:
        raise FieldError("send a whole PNG: its data are not what its header says")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at < len(content):
        head = content[at : at + 8]
        if len(head) < 8:
            raise FieldError("send a whole PNG: it ends too early")
        length, name = unpack(">I4s", head)
        data, crc = content[at + 8 : at + 8 + length], content[at + 8 + length : at + 12 + length]
        if len(crc) < 4 or zlib.crc32(name + data) != int.from_bytes(crc, "big"):
            raise FieldError("send a whole PNG: a part of it is damaged")
        at += 12 + length
        if name == b"IEND" and at != len(content):
            raise FieldError("send a PNG with nothing behind its end")
        yield name, data
        if name == b"IEND":
            return
    raise FieldError("send a whole PNG: it ends too early")


def _unpacked_max(header: bytes) -> int:
    """How many bytes its data may unpack to."""
    width, height, depth, colour, packing, filters, interlace = unpack(">IIBBBBB", header)
    if not 0 < width * height <= PIXELS_MAX:
        raise FieldError(f"send a PNG of at most {PIXELS_MAX:,} pixels")
    if depth not in _DEPTHS.get(colour, ()) or packing or filters or interlace > 1:
        raise FieldError("send a PNG whose header is one of PNG")
    row = (int(width) * depth * _SAMPLES[colour] + 7) // 8 + 1
    # Passes of an interlaced one have rows of their own: at most as many again, and shorter.
    return int(row * height * (2 if interlace else 1) + 64 * interlace)
