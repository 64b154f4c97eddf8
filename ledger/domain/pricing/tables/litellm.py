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
# Of what a thousand units of a meter cost: seconds, gigabytes for a day, a thousand calls.
_THOUSAND_DIGITS = PER_DIGITS - 3
_HEARD, _SPOKEN = frozenset({"audio_transcription"}), frozenset({"audio_speech"})
# Costs of what is beside tokens, here of a million units of a meter (a query is a request): the
# meter, the modes of models that they are of, where these tell, and how many digits larger.
_BESIDE: Mapping[str, tuple[str, frozenset[str] | None, int]] = MappingProxyType(
    {
        "input_cost_per_audio_per_second": ("input_audio_ms", None, _THOUSAND_DIGITS),
        "input_cost_per_second": ("input_audio_ms", _HEARD, _THOUSAND_DIGITS),
        "output_cost_per_second": ("output_audio_ms", _SPOKEN, _THOUSAND_DIGITS),
        "input_cost_per_video_per_second": ("input_video_ms", None, _THOUSAND_DIGITS),
        "output_cost_per_video_per_second": ("output_video_ms", None, _THOUSAND_DIGITS),
        "input_cost_per_character": ("input_characters", None, PER_DIGITS),
        "ocr_cost_per_page": ("input_pages", None, PER_DIGITS),
        "code_interpreter_cost_per_session": ("code_interpreter_sessions", None, PER_DIGITS),
        "file_search_cost_per_1k_calls": ("file_search_calls", None, _THOUSAND_DIGITS),
        "file_search_cost_per_gb_per_day": ("storage_mb_days", None, _THOUSAND_DIGITS),
        "vector_store_cost_per_gb_per_day": ("storage_mb_days", None, _THOUSAND_DIGITS),
        "input_cost_per_query": ("requests", frozenset({"search"}), PER_DIGITS),
    }
)
_SEARCHES = "search_context_cost_per_query"
_SIZES: Mapping[str, str] = MappingProxyType(
    {f"search_context_size_{size}": size for size in ("low", "medium", "high")}
)
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
    mode = said.get("mode")
    return TableRow(
        model,
        prices,
        tuple(left_out),
        generates=mode in _GENERATES,
        reads_text=mode == "embedding",
    )


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
    """Whether a cost is of something that is counted beside tokens, and so was taken in."""
    value = said[name]
    if name == _SEARCHES:
        return _take_searches(prices, model, value)
    if name not in _BESIDE:
        return False
    meter, modes, digits = _BESIDE[name]
    if modes is not None and said.get("mode") not in modes:
        return False
    add_price(prices, PricedUsage(model, meter), read_amount(value, digits=digits))
    return True


def _take_searches(prices: dict[PricedUsage, Decimal], model: str, value: object) -> bool:
    """A search of unsaid context costs what one of medium context does, as LiteLLM has it."""
    if not isinstance(value, Mapping) or not value.keys() & _SIZES.keys():
        return False
    amounts = {
        size: read_amount(value[name], digits=PER_DIGITS)
        for name, size in _SIZES.items()
        if name in value
    }
    for size, amount in amounts.items():
        add_price(prices, PricedUsage(model, f"web_search_{size}_calls"), amount)
    if "medium" in amounts or len(set(amounts.values())) == 1:
        any_size = amounts.get("medium", next(iter(amounts.values())))
        add_price(prices, PricedUsage(model, "web_search_calls"), any_size)
    return value.keys() <= _SIZES.keys()


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
