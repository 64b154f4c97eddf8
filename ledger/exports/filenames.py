"""Names of files made of what people chose: always a file in the folder that was meant."""

import re

CHARS_MAX = 200
_OTHER = re.compile(r"[^A-Za-z0-9._:@+=~-]", re.ASCII)


def file_name(chosen: str, suffix: str = "") -> str:
    """`chosen` as one name of a file, whatever it holds; `suffix` with its dot."""
    plain = _OTHER.sub("_", chosen)[: CHARS_MAX - len(suffix)]
    return (plain if plain[:1].isalnum() else f"_{plain[1:]}") + suffix
