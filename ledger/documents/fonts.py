"""Which fonts a document is set in, and which signs none of them has.

Fonts come as packages (the extra `documents`), so that a document looks alike wherever it is made;
this host's own are asked only where those lack a sign.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import typst

PACKAGES = (
    "noto_cjk_sans_otc",
    "fontpkg_noto_sans_arabic",
    "fontpkg_noto_sans_devanagari",
    "fontpkg_noto_sans_thai",
    "pylopdf_fonts_he",
)
FAMILIES = (
    "Libertinus Serif",
    *("Noto Sans Arabic", "Noto Serif Hebrew", "Noto Sans Devanagari", "Noto Sans Thai"),
)
# Han signs are drawn in each country's own way; its other script tells whose a text is.
_KANA = re.compile("[\u3040-\u30ff]")
_HANGUL = re.compile("[\uac00-\ud7a3\u1100-\u11ff]")
# Every sign of these is in the font that is always there.
_PLAIN = re.compile("[\n -~\u00a1-\u00ac\u00ae-\u017f\u2009\u2013\u2014\u2018-\u201e\u20ac\u2212]*")
_PROBE = (
    b'#set document(title: "probe", date: datetime(year: 2000, month: 1, day: 1))\n'
    b"#set text(font: json(bytes(sys.inputs.fonts)))\n#sys.inputs.text"
)
_LACKED = re.compile(r'the text `"(.*)"` could not be displayed', re.DOTALL)


@cache
def fonts(*, of_this_host: bool) -> typst.Fonts:
    """typst's own fonts and those of packages that are installed; with this host's where asked."""
    specs = [find_spec(name) for name in PACKAGES]
    folders = [str(Path(spec.origin).parent) for spec in specs if spec and spec.origin]
    return typst.Fonts(include_system_fonts=of_this_host, font_paths=folders)


def families(text: str) -> list[str]:
    """Fonts in the order in which they are asked for a sign of this text."""
    country = "JP" if _KANA.search(text) else "KR" if _HANGUL.search(text) else "SC"
    return [*FAMILIES, f"Noto Sans CJK {country}"]


def find_lacking(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(name, sign) of each named text that has a sign no font shows."""
    for name, text in texts.items():
        sign = None if _is_plain(text) else _lacking(text)
        if sign is not None:
            yield name, sign


def _is_plain(text: str) -> bool:
    # Most is of ASCII, of which this tells as much in a tenth of the time.
    return (text.isascii() and text.replace("\n", "").isprintable()) or bool(_PLAIN.fullmatch(text))


def lacked_by(error: typst.TypstError) -> str | None:
    """The sign that typst says it cannot show, or None where the error is another."""
    lacking = _LACKED.search(str(error))
    return lacking[1] if lacking else None


def compile_shown(source: str | bytes, inputs: dict[str, str]) -> bytes:
    """A PDF/A in which every sign is shown; typst.TypstError where a sign has no font."""
    # PDF/A holds every sign it shows, or cannot be made.
    try:
        return _compile(source, inputs, of_this_host=False)
    except typst.TypstError as error:
        if lacked_by(error) is None:
            raise
        return _compile(source, inputs, of_this_host=True)


def _compile(source: str | bytes, inputs: dict[str, str], *, of_this_host: bool) -> bytes:
    made = typst.compile(
        source,
        format="pdf",
        sys_inputs=inputs,
        pdf_standards="a-3b",
        font_paths=fonts(of_this_host=of_this_host),
        timestamp=0,
    )
    return bytes(made)


def _lacking(text: str) -> str | None:
    inputs = {"text": text, "fonts": json.dumps(families(text))}
    try:
        compile_shown(_PROBE, inputs)
    except typst.TypstError as error:
        sign = lacked_by(error)
        if sign is None:
            raise
        return sign
    return None
