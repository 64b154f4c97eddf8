"""What documents say, in the language of who reads them; the key is the English."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a language; what it has none of is said in English."""

    language: str
    said: Mapping[str, str]

    def say(self, text: str, **put: object) -> str:
        """The text in this language, with values in its braces."""
        return self.said.get(text, text).format(**put)


@cache
def translations() -> Mapping[str, Mapping[str, str]]:
    """Every language but English, by its code of two letters."""
    written: Mapping[str, Mapping[str, str]] = tomllib.loads(
        (files("ledger.documents") / "words.toml").read_text(encoding="utf-8")
    )
    return written


def words_of(language: str) -> Words:
    """The words of a language, whatever its country; English where documents do not speak it."""
    code = language.partition("-")[0]
    said = translations().get(code)
    return Words("en", {}) if said is None else Words(code, said)
