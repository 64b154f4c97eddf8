"""What others named, as one line that steers no terminal."""

import re

CHARS_MAX = 400
# Of an error that is too long the end is kept: there it says what to do.
END_KEPT = 160
# Control signs but the end of a line, other ends of lines, and overrides of direction.
_STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: str) -> str:
    """The text in one line of at most 400 characters, with its end kept.

    What is no sign to print is written out: what others named may steer no terminal.
    """
    line = written_out(" ".join(text.split()))
    if len(line) <= CHARS_MAX:
        return line
    return f"{line[: CHARS_MAX - END_KEPT - 3]} … {line[-END_KEPT:]}"


def written_out(text: str) -> str:
    """The text with what is no sign to print as its code."""
    return text if text.isprintable() else "".join(map(_printed, text))


def unsteering(text: str) -> str:
    """The text with what would steer a terminal or turn words around as its code; scripts keep
    their joiners, and lines their ends."""
    return _STEERS.sub(lambda sign: _printed(sign[0]), text)


def _printed(sign: str) -> str:
    return sign if sign.isprintable() else sign.encode("unicode_escape").decode()
