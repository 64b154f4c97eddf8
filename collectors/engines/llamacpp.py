"""llama.cpp's /metrics to canonical counters: one model a process, no labels, six digits printed.

Its prompt counter holds evaluated tokens only, so it is `prompt_tokens_computed`, and cancelled
requests add no output: a cross-check, never a bill.
"""

from collectors.engines.counters import EngineMap, Rule

RULES = {
    "prompt_tokens": (Rule("prompt_tokens_computed"),),
    "prompt_tokens_cached": (Rule("prompt_tokens_cached"),),
    "tokens_predicted": (Rule("generation_tokens"),),
    "spec_decode_num_draft_tokens": (Rule("draft_tokens"),),
    "spec_decode_num_accepted_tokens": (Rule("accepted_tokens"),),
    "prompt_seconds": (Rule("busy_seconds", label={"phase": "prefill"}),),
    "tokens_predicted_seconds": (Rule("busy_seconds", label={"phase": "decode"}),),
    "n_decode": (Rule("steps"),),
    "requests_processing": (Rule("requests_running"),),
    # Gone in 2025.
    "kv_cache_usage_ratio": (Rule("kv_used"),),
}

ENGINE = EngineMap(
    name="llamacpp",
    path="/metrics",
    prefixes=("llamacpp:", "llamacpp_"),
    rules=RULES,
    anchor="prompt_tokens",
    as_of="2026-07",
    versions={
        "prompt_tokens_cached": "build 10500 or later",
        "n_tokens_max": "of 2025-11",
        "kv_cache_usage_ratio": "older than 2025-11",
        "tokens_predicted": "of 2025",
    },
    aside=frozenset(
        {
            *("prompt_tokens_seconds", "predicted_tokens_seconds", "n_tokens_max"),
            *("spec_decode_num_accepted_tokens_per_pos", "kv_cache_tokens"),
        }
    ),
    six_digits=True,
)
