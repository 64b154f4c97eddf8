"""Whatever disk and network do, what a spool keeps comes once, and what is lost is a gap."""

from collections.abc import Callable
from typing import Any

import pytest

import collectors.spool
from collectors.spool import Spool
from tests.simulation.collector import run

SEEDS = range(1, 301)


def test_no_life_of_a_collector_loses_doubles_or_reuses_anything() -> None:
    wrong = {found.seed: found.wrong for found in map(run, SEEDS) if found.wrong}
    assert wrong == {}


def nothing(*_: Any) -> None:
    """What a broken spool would do instead."""


@pytest.mark.parametrize(
    ("where", "what", "instead"),
    [
        (collectors.spool, "keep_numbers", nothing),
        (Spool, "_name_lost", nothing),
        (Spool, "_undo", lambda *_: ""),
    ],
)
def test_the_simulation_sees_what_would_be_broken(
    monkeypatch: pytest.MonkeyPatch, where: object, what: str, instead: Callable[..., Any]
) -> None:
    monkeypatch.setattr(where, what, instead)
    assert any(run(seed).wrong for seed in SEEDS)


def test_a_seed_is_always_the_same() -> None:
    assert run(7) == run(7)
