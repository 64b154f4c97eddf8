"""Every stage, in the order in which each follows from those before it.

What runs all of them, the command of each, `status` and metrics go by this table. A stage is
imported when it is run: who only names them does without their columns and compiled loops.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.flows.stage import Stage


# Held like a run of a stage, by whoever makes lines of windows again that were let go.
RECALL = "recall"


@dataclass(frozen=True, slots=True)
class ListedStage:
    """Where a stage is, as module:name, and what it is for."""

    where: str
    about: str

    def load(self) -> Stage:
        """Import the stage."""
        module, _, name = self.where.partition(":")
        stage: Stage = getattr(import_module(module), name)
        return stage


STAGES: dict[str, ListedStage] = {
    "allocate": ListedStage(
        "ledger.flows.cost.allocate:allocate",
        "Allocate energy and cost to what was served, idle, unattributed and unclaimed.",
    ),
    "rate": ListedStage(
        "ledger.flows.pricing.rate:rate",
        "Price what was used by the rate cards of that time.",
    ),
    "draw": ListedStage(
        "ledger.flows.billing.draw:draw",
        "Draw what was granted in advance for what was charged.",
    ),
    "book_cost": ListedStage(
        "ledger.flows.books.book_cost:book_cost",
        "Book what windows cost into the journal.",
    ),
    "book_revenue": ListedStage(
        "ledger.flows.books.book_revenue:book_revenue",
        "Book what usage earned into the journal.",
    ),
    "accrue": ListedStage(
        "ledger.flows.cost.accrue:accrue",
        "Accrue what sites cost beside energy and hardware, by day.",
    ),
    "thin": ListedStage(
        "ledger.flows.cost.thin:thin",
        "Let cost lines of windows go whose days are added up and booked.",
    ),
    "carry": ListedStage(
        "ledger.flows.books.carry:carry",
        "Carry balances of the journal forward, so that none needs all of it.",
    ),
    "dun": ListedStage(
        "ledger.flows.billing.dun:dun",
        "Write the letters about what is overdue.",
    ),
    "tally": ListedStage(
        "ledger.flows.metering.tally:tally",
        "Add usage up by day, so that no report of months needs all windows.",
    ),
    "check_weights": ListedStage(
        "ledger.flows.cost.check_weights:check_weights",
        "Check fitted weights in force against what deployments took in the last hour.",
    ),
}


def load_stages() -> list[Stage]:
    """Every stage, in the order of the table."""
    return [listed.load() for listed in STAGES.values()]
