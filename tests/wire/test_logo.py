"""A logo shows itself and nothing else: whatever else an image may hold is refused by name."""

import zlib
from collections.abc import Mapping
from struct import pack

import pytest

from ledger.documents.logo import check_drawn
from ledger.wire.errors import FieldError
from ledger.wire.logo import BYTES_MAX, PNG, SVG, read_logo

SHAPE = '<path d="M0 0h8v4H0z" fill="url(#g)"/>'
DEFS = '<defs><linearGradient id="g"><stop stop-color="#123"/></linearGradient></defs>'


def svg(inside: str = DEFS + SHAPE, more: str = "") -> bytes:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 4" {more}'
    return f'{head} xmlns:xlink="http://www.w3.org/1999/xlink">{inside}</svg>'.encode()


def chunk(name: bytes, data: bytes) -> bytes:
    return pack(">I4s", len(data), name) + data + pack(">I", zlib.crc32(name + data))


def png(
    size: tuple[int, int] = (8, 4), rows: bytes | None = None, more: bytes = b"", colour: int = 2
) -> bytes:
    width, height = size
    plain = (b"\0" + b"\x10\x20\x30" * width) * height if rows is None else rows
    header = pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(plain)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data + more


def test_both_kinds_are_taken_as_they_are_and_can_be_drawn() -> None:
    for content, media_type in (
        (png(), PNG),
        (svg(), SVG),
        (b"<?xml version='1.0'?>" + svg(), SVG),
    ):
        logo = read_logo(content)
        assert (logo.media_type, logo.content) == (media_type, content)
        check_drawn(logo)


REFUSED: Mapping[str, tuple[bytes, str]] = {
    "nothing": (b"", "a PNG or an SVG"),
    "a JPEG": (b"\xff\xd8\xff\xe0" + bytes(50), "a PNG or an SVG"),
    "a page": (b"<html><body/></html>", "not <html>"),
    "too many bytes": (svg("<!--" + "x" * BYTES_MAX + "-->"), "at most 100,000 bytes"),
    "a script": (svg("<script>alert(1)</script>"), "without <script>"),
    "a handler": (svg(more='onload="alert(1)"'), "without onload"),
    "an image elsewhere": (svg('<image xlink:href="http://x.test/a.png"/>'), "without <image>"),
    "a file": (svg('<image xlink:href="file:///etc/passwd"/>'), "without <image>"),
    "a foreign document": (svg("<foreignObject/>"), "without <foreignObject>"),
    "a link": (svg('<rect xlink:href="https://x.test/"/>'), "without href"),
    "a base": (svg(more='xml:base="https://x.test/"'), "without base"),
    "a paint elsewhere": (svg('<rect fill="url(https://x.test/#g)"/>'), "without fill"),
    "a style that fetches": (svg("<rect style=\"fill: url( '//x.test')\"/>"), "without style"),
    "a stylesheet": (b'<?xml-stylesheet href="//x.test"?>' + svg(), "stylesheet"),
    "a style of its own": (svg("<style>*{}</style>"), "without <style>"),
    "text": (svg("<text>hi</text>"), "without <text>"),
    "what repeats": (svg('<g id="a"/><use href="#a"/>'), "without <use>"),
    "entities": (b'<!DOCTYPE svg [<!ENTITY a "b">]>' + svg(), "document type"),
    "no end of levels": (svg("<g>" * 90 + "</g>" * 90), "64 levels"),
    "no end of shapes": (svg("<g/>" * 6_000), "5,000 elements"),
    "half an SVG": (svg()[:-7], "can be read"),
    "another coding": (svg().decode().encode("utf-16"), "a PNG or an SVG"),
    "half a PNG": (png()[:-20], "ends too early|damaged"),
    "a PNG that was changed": (png().replace(b"IDAT", b"IDAX"), "damaged"),
    "a PNG with a file behind it": (png(more=b"PK"), "nothing behind its end"),
    "a PNG that unpacks to more": (png(rows=bytes(10_000_000)), "not what its header says"),
    "a PNG of many pixels": (png(size=(60_000, 60_000), rows=b""), "4,000,000 pixels"),
    "a PNG of none": (png(size=(0, 4), rows=b""), "pixels"),
    "a PNG of no colour": (png(colour=5), "header"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_else_it_may_hold_is_refused_by_name(name: str) -> None:
    content, told = REFUSED[name]
    with pytest.raises(FieldError, match=told):
        read_logo(content)
