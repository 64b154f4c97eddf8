"""SGLang's /metrics to canonical counters; its own customer labels stay on as labels."""

from dataclasses import replace

from collectors.engines.counters import EngineMap, EngineReading, Rule, read_counters
from collectors.exposition import Exposition
from collectors.reading import CounterReading

# Relays of its gRPC side re-export the names without the colon.
PREFIXES = ("sglang:", "sglang_")
_MODEL = {"model_name": "model"}
_SOURCE = "cache_source"

RULES = {
    "prompt_tokens": (Rule("prompt_tokens", rename=_MODEL),),
    "cached_tokens": (Rule("prompt_tokens_cached", rename=_MODEL),),
    "generation_tokens": (Rule("generation_tokens", rename=_MODEL),),
    "num_requests": (Rule("requests_finished", rename=_MODEL),),
    "num_retracted_requests": (Rule("preemptions", rename=_MODEL),),
}


def read(exposition: Exposition) -> EngineReading:
    """The counters of one scrape; a total of cached tokens is left out beside its own parts."""
    reading = read_counters(exposition, prefixes=PREFIXES, rules=RULES, anchor="prompt_tokens")
    parts = {
        _without_source(counter)
        for counter in reading.counters
        if counter.labels.get(_SOURCE, "total") != "total"
    }
    kept = tuple(
        counter
        for counter in reading.counters
        if counter.labels.get(_SOURCE) != "total" or _without_source(counter) not in parts
    )
    return replace(reading, counters=kept)


def _without_source(counter: CounterReading) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pair for pair in counter.labels.items() if pair[0] != _SOURCE))


ENGINE = EngineMap(name="sglang", path="/metrics", read=read)
