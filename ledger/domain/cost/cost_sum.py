"""Sums that margins are made of, by who used it: cost and energy, tokens, charges."""

from datetime import date
from decimal import Decimal
from typing import NamedTuple


class CostSum(NamedTuple):
    """Cost and energy of a scope's lines of one kind and user; nobody used idle hardware."""

    scope: str
    line: str
    currency: str
    customer_id: str | None
    customer_ref: str | None
    agent_id: str | None
    tier: str | None
    model: str | None
    project_id: str | None
    api_key_id: str | None
    adapter: str | None
    region: str | None
    busy_s: int
    device_metered_mj: int
    device_estimated_mj: int
    host_mj: int
    overhead_mj: int
    device_cost: Decimal
    overhead_cost: Decimal
    gpu_cost: Decimal


class TokenSum(NamedTuple):
    """Requests and tokens of one user, and how many requests did not say which; what nobody asked
    to tell users apart by is None."""

    customer_id: str | None
    customer_ref: str | None
    agent_id: str | None
    tier: str | None
    model: str | None
    project_id: str | None
    api_key_id: str | None
    adapter: str | None
    region: str | None
    requests: int
    uncached: int
    cache_read: int
    cache_write: int
    output: int
    input_unknown: int
    output_unknown: int
    cached_unknown: int
    written_unknown: int


class ChargeSum(NamedTuple):
    """What one user owes in a currency (None: nothing is priced), and what waits for a price."""

    currency: str | None
    customer_id: str | None
    customer_ref: str | None
    agent_id: str | None
    tier: str | None
    model: str | None
    project_id: str | None
    api_key_id: str | None
    adapter: str | None
    region: str | None
    amount: Decimal
    unpriced_tokens: int


class ForeignCharge(NamedTuple):
    """A `ChargeSum` of one day, in another currency than the cost's."""

    used_on: date
    currency: str
    customer_id: str | None
    customer_ref: str
    agent_id: str
    tier: str
    model: str
    project_id: str
    api_key_id: str
    adapter: str
    region: str
    amount: Decimal
    unpriced_tokens: int

    @property
    def charge(self) -> ChargeSum:
        """The same, of any day."""
        return ChargeSum(*self[1:])
