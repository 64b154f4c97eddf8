"""Dynamo's frontend: token histograms' sums and its live output counter to canonical counters.

Input is counted when a request ends, output while it is made, so that a stream cut off leaves
output without input. A request that moves to another worker is counted here once, and prefilled
twice by workers. Where the prefix was set anew (DYN_METRICS_PREFIX), name it with its own map.
"""

from dataclasses import replace

from collectors.engines.counters import Counters, EngineMap, Rule

_OUTPUT, _ENDED = "generation_tokens", "generation_tokens_ended"

RULES = {
    "input_sequence_tokens_sum": (Rule("prompt_tokens"),),
    "cached_tokens_sum": (Rule("prompt_tokens_cached"),),
    "output_tokens": (Rule(_OUTPUT),),
    "output_sequence_tokens_sum": (Rule(_ENDED),),
    "requests": (Rule("requests_finished", rename={"status": "reason"}),),
    "model_migration": (Rule("migrations", rename={"migration_type": "reason"}),),
    "inflight_requests": (Rule("requests_running"),),
}


def settle(counters: Counters) -> Counters:
    """The live counter of output where there is one, else the sum of what ended."""
    if any(counter.name == _OUTPUT for counter in counters):
        return tuple(counter for counter in counters if counter.name != _ENDED)
    return tuple(
        replace(counter, name=_OUTPUT) if counter.name == _ENDED else counter
        for counter in counters
    )


ENGINE = EngineMap(
    name="dynamo",
    path="/metrics",
    prefixes=("dynamo_frontend_",),
    rules=RULES,
    anchor="input_sequence_tokens",
    as_of="2026-06",
    versions={
        "output_tokens": "with a live count of output",
        "cached_tokens": "that counts output at the end",
        "input_sequence_tokens": "that says nothing of its cache",
    },
    settle=settle,
)
