"""How much of what an engine takes each kind of work takes: a set of whole numbers, by version."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weights:
    """What a token of each kind takes, relative to the others, as declared under `version`.

    `context` is taken by an output token for each 1,000 tokens that it looks back on. `step` is
    taken by a step of the engine, and shared by all who write in it.
    """

    version: int = 1
    uncached: int = 1
    cache_read: int = 0
    cache_write: int = 1
    output: int = 5
    context: int = 0
    step: int = 0


NO_WEIGHTS = Weights(0, 0, 0, 0, 0)
