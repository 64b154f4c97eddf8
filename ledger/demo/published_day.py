"""A published day of an inference provider, as events whose sums are exactly the published totals.

Source of every figure: DeepSeek, open-infra-index, day 6, "DeepSeek-V3/R1 Inference System
Overview" (24 hours to 28 February 2025, 12:00 UTC+8). The node schedule and the hourly shape were
read from its two charts. Customers, agents, tiers and request counts are ours.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from ledger.domain.apportion import apportion
from ledger.wire.limits import USAGE

SOURCE = "demo/published-day"
MODEL = "deepseek-v3-r1"
ENTITY = "published-day"
START = datetime(2025, 2, 27, 4, tzinfo=UTC)
END = START + timedelta(hours=24)

CACHE_HIT_TOKENS = 342_000_000_000
CACHE_MISS_TOKENS = 266_000_000_000
OUTPUT_TOKENS = 168_000_000_000
PUBLISHED_REVENUE_USD = "562027.00"
PUBLISHED_MARKUP_PCT = "545"
GPUS_PER_NODE = 8
GPU_HOUR_USD = "2"
PRICES_USD_PER_MILLION = {
    "input_cache_read": "0.14",
    "input_uncached": "0.55",
    "output_visible": "2.19",
}
REQUESTS = 152_000_000  # ours: 4,000 input tokens a request

# Nodes in service, each from a time of the day in hours and quarters after 12:00 UTC+8.
NODE_SCHEDULE: tuple[tuple[int, int], ...] = (
    (0, 278),
    (12 * 60, 218),
    (13 * 60 + 15, 188),
    (14 * 60, 158),
    (14 * 60 + 45, 128),
    (15 * 60, 98),
    (15 * 60 + 30, 68),
    (18 * 60 + 30, 98),
    (19 * 60, 128),
    (19 * 60 + 30, 188),
    (20 * 60, 218),
    (20 * 60 + 30, 278),
)
# Theoretical income of each hour in USD, from the chart; only its shape is used.
HOURLY_SHAPE: tuple[int, ...] = (
    *(27_057, 28_552, 30_506, 30_966, 30_506, 27_862, 26_828, 29_586),
    *(30_736, 30_851, 31_080, 29_816, 21_770, 17_977, 13_149, 7_977),
    *(6_368, 6_368, 7_977, 13_724, 23_149, 29_471, 30_506, 29_931),
)
TIERS = {"real-time": 30, "standard": 50, "batch": 20}


@dataclass(frozen=True, slots=True)
class DayBuyer:
    """A customer of the day, its agents, and its share of the traffic."""

    customer_id: str
    name: str
    kind: str
    share: int
    agents: tuple[str, ...] = ("",)


BUYERS = (
    DayBuyer("pd-chat-app", "Chat app and web", "organization", 46, ("", "search-agent")),
    DayBuyer("pd-cloud-east", "Cloud East marketplace", "organization", 17),
    DayBuyer("pd-code-studio", "Code Studio", "organization", 14, ("completion", "review-agent")),
    DayBuyer("pd-research", "Open Research Lab", "organization", 9),
    DayBuyer("pd-support-agent", "Support desk agent", "ai_agent", 8, ("triage", "reply")),
    DayBuyer("pd-trading-agent", "Market analyst agent", "ai_agent", 6, ("analyst",)),
)


@dataclass(frozen=True, slots=True)
class BuyerSlot:
    """One aggregated record to be: a quarter hour of one buyer, agent and tier."""

    start: datetime
    buyer: DayBuyer
    agent: str
    tier: str
    weight: int


def node_periods() -> Iterator[tuple[datetime, datetime, int]]:
    """(start, end, nodes) of each step of the published schedule."""
    marks = [START + timedelta(minutes=minute) for minute, _ in NODE_SCHEDULE] + [END]
    for (start, end), (_, nodes) in zip(pairwise(marks), NODE_SCHEDULE, strict=True):
        yield start, end, nodes


def events(seed: int) -> list[dict[str, Any]]:
    """Aggregated usage records in time order; their sums are the published totals exactly."""
    rng = random.Random(seed)
    slots = list(_slots(rng))
    hits = _share_out(rng, slots, CACHE_HIT_TOKENS)
    misses = _share_out(rng, slots, CACHE_MISS_TOKENS)
    outputs = _share_out(rng, slots, OUTPUT_TOKENS)
    requests = _share_out(rng, slots, REQUESTS)
    return [
        _event(slot, hit=hit, miss=miss, output=output, requests=count)
        for slot, hit, miss, output, count in zip(
            slots, hits, misses, outputs, requests, strict=True
        )
    ]


def _slots(rng: random.Random) -> Iterator[BuyerSlot]:
    for quarter in range(96):
        start = START + timedelta(minutes=15 * quarter)
        for buyer in BUYERS:
            for agent in buyer.agents:
                for tier, tier_share in TIERS.items():
                    weight = HOURLY_SHAPE[quarter // 4] * buyer.share * tier_share
                    weight *= rng.randrange(80, 121)
                    yield BuyerSlot(start, buyer, agent, tier, weight // len(buyer.agents))


def _share_out(rng: random.Random, slots: list[BuyerSlot], total: int) -> list[int]:
    return apportion(total, [slot.weight * rng.randrange(90, 111) for slot in slots])


def _event(slot: BuyerSlot, *, hit: int, miss: int, output: int, requests: int) -> dict[str, Any]:
    ended = slot.start + timedelta(minutes=15) - timedelta(milliseconds=1)
    data: dict[str, Any] = {
        "customer_id": slot.buyer.customer_id,
        "requests": requests,
        "provider": "self_hosted",
        "served_model": MODEL,
        "service_tier_served": slot.tier,
        "started_at": _text(slot.start),
        "ended_at": _text(ended),
        "usage": {
            "input": {"uncached": miss, "cache_read": hit, "cache_write": 0},
            "output": {"visible": output, "reasoning": 0},
            "input_total": hit + miss,
            "output_total": output,
            "source": "provider_final",
            "complete": True,
        },
    }
    if slot.agent:
        data["agent"] = {"id": slot.agent}
    name = slot.agent or "direct"
    return {
        "specversion": "1.0",
        "id": f"{slot.start:%Y%m%dT%H%M}.{slot.buyer.customer_id}.{name}.{slot.tier}",
        "source": SOURCE,
        "type": USAGE,
        "time": _text(ended),
        "data": data,
    }


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
