"""models.dev's files: provider to models, each with costs in US dollars for a million tokens."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType

from ledger.domain.pricing.tables.row import (
    PricedUsage,
    TableRow,
    UnreadableError,
    add_price,
    read_amount,
)

_METERS: Mapping[str, str] = MappingProxyType(
    {
        "input": "input_uncached",
        "output": "output_visible",
        "reasoning": "output_reasoning",
        "cache_read": "input_cache_read",
        "cache_write": "input_cache_write",
        "input_audio": "input_audio",
        "output_audio": "output_audio",
    }
)
# What is said of a tier beside its prices.
_OF_A_TIER = frozenset({"tier"})
_OVER_200K = "context_over_200k"


def read_modelsdev(table: Mapping[str, object]) -> Iterator[TableRow]:
    """The models of all providers of a table, each a row under its own id.

    A model without `cost` has no known price, which is no price of nothing.
    """
    for provider, said in table.items():
        models = said.get("models") if isinstance(said, Mapping) else None
        if not isinstance(models, Mapping):
            yield TableRow(provider, {}, unreadable="it has no models")
            continue
        for model, terms in models.items():
            yield _row(model, terms.get("cost") if isinstance(terms, Mapping) else terms)


def _row(model: str, cost: object) -> TableRow:
    if cost is None:
        return TableRow(model, {})
    prices: dict[PricedUsage, Decimal] = {}
    left_out: list[str] = []
    try:
        for band_from, costs in _bands(cost):
            for name, value in costs.items():
                if name in _METERS:
                    usage = PricedUsage(model, _METERS[name], "", band_from)
                    add_price(prices, usage, read_amount(value))
                else:
                    left_out.append(name)
    except UnreadableError as error:
        return TableRow(model, {}, unreadable=f"{error}")
    return TableRow(model, prices, tuple(sorted(set(left_out))))


def _bands(cost: object) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Costs by the length of context in tokens above which they hold."""
    if not isinstance(cost, Mapping):
        raise UnreadableError("its cost is no object")
    inner = {"tiers", _OVER_200K}
    yield 0, {name: value for name, value in cost.items() if name not in inner}
    tiers = cost.get("tiers", [])
    if not isinstance(tiers, list):
        raise UnreadableError("its cost.tiers is no list")
    for costs in tiers:
        tier = costs.get("tier") if isinstance(costs, Mapping) else None
        size = tier.get("size") if isinstance(tier, Mapping) else None
        if not isinstance(size, int) or size <= 0:
            raise UnreadableError("its cost.tiers has a tier without a size")
        yield size, {name: value for name, value in costs.items() if name not in _OF_A_TIER}
    if isinstance(over := cost.get(_OVER_200K), Mapping) and not tiers:
        yield 200_000, over
