"""SGLang's /metrics to canonical counters; its own customer labels stay on as labels."""

from collectors.engines.counters import Counters, EngineMap, Rule
from collectors.reading import CounterReading

_MODEL = {"model_name": "model"}
_SOURCE = "cache_source"

RULES = {
    "prompt_tokens": (Rule("prompt_tokens", rename=_MODEL),),
    "cached_tokens": (Rule("prompt_tokens_cached", rename=_MODEL),),
    "generation_tokens": (Rule("generation_tokens", rename=_MODEL),),
    "num_requests": (Rule("requests_finished", rename=_MODEL),),
    "num_retracted_requests": (Rule("preemptions", rename=_MODEL),),
    "forward_execution_seconds": (Rule("busy_seconds", rename={**_MODEL, "category": "phase"}),),
    "num_running_reqs": (Rule("requests_running", rename=_MODEL),),
    "token_usage": (Rule("kv_used", rename=_MODEL),),
}


def settle(counters: Counters) -> Counters:
    """A total of cached tokens is left out beside its own parts."""
    parts = {
        _without_source(counter)
        for counter in counters
        if counter.labels.get(_SOURCE, "total") != "total"
    }
    return tuple(
        counter
        for counter in counters
        if counter.labels.get(_SOURCE) != "total" or _without_source(counter) not in parts
    )


def _without_source(counter: CounterReading) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pair for pair in counter.labels.items() if pair[0] != _SOURCE))


ENGINE = EngineMap(
    name="sglang",
    path="/metrics",
    # Relays of its gRPC side re-export the names without the colon.
    prefixes=("sglang:", "sglang_"),
    rules=RULES,
    anchor="prompt_tokens",
    as_of="2026-07",
    versions={
        "forward_execution_seconds": "of 2026, with device timers",
        "realtime_tokens": "of 2026",
        "prompt_tokens": "older than 2026",
    },
    aside=frozenset(
        {
            *("prompt_tokens_histogram", "generation_tokens_histogram", "realtime_tokens"),
            *("uncached_prompt_tokens_histogram", "kv_available_tokens", "kv_evictable_tokens"),
            *("kv_used_tokens", "num_used_tokens", "num_retracted_input_tokens"),
            *("num_retracted_output_tokens", "max_total_num_tokens"),
        }
    ),
    settle=settle,
)
