"""How many examples properties are tried with: some for every change, more by `make torture`."""

from hypothesis import settings

# What a profile that says nothing else has.
USUAL = 100


def at_depth(examples: int) -> int:
    """So many, where one is dear, times what the profile has more than the usual hundred."""
    return examples * settings().max_examples // USUAL
