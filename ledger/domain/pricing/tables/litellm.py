"""LiteLLM's table: model to costs in US dollars for one token, by names that say of what."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType

from ledger.domain.pricing.tables.row import (
    PER_DIGITS,
    PricedUsage,
    TableRow,
    UnreadableError,
    add_price,
    read_amount,
)

# Entries that are about the table, and of no model.
_NO_MODELS = frozenset({"sample_spec", "fallback_generalizations"})
_METERS: Mapping[str, str] = MappingProxyType(
    {
        "input_cost_per_token": "input_uncached",
        "output_cost_per_token": "output_visible",
        "output_cost_per_reasoning_token": "output_reasoning",
        "cache_read_input_token_cost": "input_cache_read",
        "input_cost_per_token_cache_hit": "input_cache_read",
        "cache_creation_input_token_cost": "input_cache_write",
        "cache_creation_input_token_cost_above_1hr": "input_cache_write_1h",
        "input_cost_per_audio_token": "input_audio",
        "input_cost_per_image_token": "input_image",
        "cache_read_input_audio_token_cost": "input_cache_read_audio",
        "output_cost_per_audio_token": "output_audio",
        "output_cost_per_image_token": "output_image",
        "input_cost_per_image": "input_images",
        "output_cost_per_image": "output_images",
        "input_cost_per_request": "requests",
    }
)
_SECOND_DIGITS = PER_DIGITS - 3
_HEARD = frozenset({"audio_transcription"})
# Costs of a second of audio, here of a million milliseconds, and of a query, which is a request:
# their meter, the modes of models that they are of, where these tell, and how many digits larger.
_BESIDE: Mapping[str, tuple[str, frozenset[str] | None, int]] = MappingProxyType(
    {
        "input_cost_per_audio_per_second": ("input_audio_ms", None, _SECOND_DIGITS),
        "input_cost_per_second": ("input_audio_ms", _HEARD, _SECOND_DIGITS),
        "output_cost_per_second": ("output_audio_ms", frozenset({"audio_speech"}), _SECOND_DIGITS),
        "input_cost_per_query": ("requests", frozenset({"search"}), PER_DIGITS),
    }
)
_SEARCHES = "search_context_cost_per_query"
_TIERS: Mapping[str | None, str] = MappingProxyType(
    {None: "", "priority": "priority", "flex": "flex", "batches": "batch"}
)
_NAME = re.compile(
    rf"(?P<of>{'|'.join(_METERS)})(?:_above_(?P<thousands>\d{{1,6}})k_tokens)?"
    r"(?:_(?P<tier>priority|flex|batches))?",
    re.ASCII,
)
_MONEY = re.compile(r"cost|pric|uplift|provider_specific_entry", re.ASCII)
_GENERATES = frozenset({"chat", "completion", "responses"})


def read_litellm(table: Mapping[str, object]) -> Iterator[TableRow]:
    """The models of a table, each a row, whatever is wrong with others."""
    for model, said in table.items():
        if model in _NO_MODELS:
            continue
        if not isinstance(said, Mapping):
            yield TableRow(model, {}, unreadable="it is no object")
            continue
        yield _row(model, said)


def _row(model: str, said: Mapping[str, object]) -> TableRow:
    prices: dict[PricedUsage, Decimal] = {}
    left_out: list[str] = []
    try:
        for name, value in said.items():
            if value is None or not _MONEY.search(name):
                continue
            if not (_take(prices, model, name, value) or _take_beside(prices, model, name, said)):
                left_out.append(name)
    except UnreadableError as error:
        return TableRow(model, {}, unreadable=f"{error}")
    return TableRow(model, prices, tuple(left_out), generates=said.get("mode") in _GENERATES)


def _take(prices: dict[PricedUsage, Decimal], model: str, name: str, value: object) -> bool:
    """Whether a cost is of tokens that a meter counts, and so was taken in."""
    if name == "tiered_pricing":
        return _take_ranges(prices, model, value)
    said = _NAME.fullmatch(name)
    if said is None:
        return False
    band = int(said["thousands"] or 0) * 1_000
    usage = PricedUsage(model, _METERS[said["of"]], _TIERS[said["tier"]], band)
    add_price(prices, usage, read_amount(value, digits=PER_DIGITS))
    return True


def _take_beside(
    prices: dict[PricedUsage, Decimal], model: str, name: str, said: Mapping[str, object]
) -> bool:
    """Whether a cost is of seconds of audio or of searches, whatever their context, and so was
    taken in."""
    value = said[name]
    if name == _SEARCHES and isinstance(value, Mapping) and value:
        amounts = {read_amount(each, digits=PER_DIGITS) for each in value.values()}
        if len(amounts) == 1:
            add_price(prices, PricedUsage(model, "web_search_calls"), amounts.pop())
        return not amounts
    if name not in _BESIDE:
        return False
    meter, modes, digits = _BESIDE[name]
    if modes is not None and said.get("mode") not in modes:
        return False
    add_price(prices, PricedUsage(model, meter), read_amount(value, digits=digits))
    return True


def _take_ranges(prices: dict[PricedUsage, Decimal], model: str, value: object) -> bool:
    """Costs by the context: each a range of tokens, and what they cost in it."""
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise UnreadableError("its tiered_pricing is no list of objects")
    if not all("range" in each for each in value):
        return False
    for each in value:
        start = _start(each["range"])
        for name, cost in each.items():
            said = _NAME.fullmatch(name)
            if said is not None and said["of"] == name:
                usage = PricedUsage(model, _METERS[name], "", start)
                add_price(prices, usage, read_amount(cost, digits=PER_DIGITS))
    return True


def _start(span: object) -> int:
    if not isinstance(span, list) or len(span) != 2:
        raise UnreadableError("its tiered_pricing has a range that is no pair")
    start = read_amount(span[0])
    if start != start.to_integral_value():
        raise UnreadableError(f"its tiered_pricing begins at {start}")
    return int(start)
