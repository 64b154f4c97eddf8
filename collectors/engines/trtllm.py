"""trtllm-serve's /prometheus/metrics to canonical counters, counted when a request ends.

It prints them where `return_perf_metrics` is on; aborted requests are in none of them.
"""

from collectors.engines.counters import EngineMap, Rule

_LABELS = {"model_name": "model"}

RULES = {
    "prompt_tokens": (Rule("prompt_tokens", rename=_LABELS),),
    "prompt_cached_tokens": (Rule("prompt_tokens_cached", rename=_LABELS),),
    "generation_tokens": (Rule("generation_tokens", rename=_LABELS),),
    "spec_decode_num_draft_tokens": (Rule("draft_tokens", rename=_LABELS),),
    "spec_decode_num_accepted_tokens": (Rule("accepted_tokens", rename=_LABELS),),
    "request_success": (
        Rule("requests_finished", rename={**_LABELS, "finished_reason": "reason"}),
    ),
    "num_requests_running": (Rule("requests_running", rename=_LABELS),),
    "kv_cache_utilization": (Rule("kv_used", rename=_LABELS),),
}

ENGINE = EngineMap(
    name="trtllm",
    path="/prometheus/metrics",
    # As it prints them, and as Dynamo's workers pass them on.
    prefixes=("trtllm_", "trtllm:"),
    rules=RULES,
    anchor="prompt_tokens",
    as_of="2026-06",
    versions={"prompt_tokens": "after 1.1", "request_success": "1.1, which counts no tokens"},
)
