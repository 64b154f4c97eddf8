"""What documents say: every language says everything, with the same values in it."""

import string

import pytest

from ledger.documents.words import translations, words_of


def places(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", ["de", "fr", "es", "da", "ja"])
def test_every_language_says_everything(language: str) -> None:
    said, others = translations()[language], translations()
    assert all(said.keys() == other.keys() for other in others.values())
    assert all(places(text) == places(english) for english, text in said.items())
    assert all(text.strip() for text in said.values())


def test_a_country_does_not_matter_and_an_unknown_language_is_english() -> None:
    assert words_of("de-AT").say("Net") == "Netto"
    assert words_of("fr").say("Pay at {link}.", link="https://a") == "Payer en ligne : https://a."
    assert words_of("sv").say("Net") == words_of("en").say("Net") == "Net"
