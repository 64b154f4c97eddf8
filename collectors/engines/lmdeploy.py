"""LMDeploy's /metrics to canonical counters, one series per data-parallel `engine`."""

from collectors.engines.counters import EngineMap, Rule
from collectors.engines.vllm import MODEL

RULES = {
    "prompt_tokens": (Rule("prompt_tokens", rename=MODEL),),
    "cached_tokens": (Rule("prompt_tokens_cached", rename=MODEL),),
    "generation_tokens": (Rule("generation_tokens", rename=MODEL),),
    "request_success": (Rule("requests_finished", rename={**MODEL, "finished_reason": "reason"}),),
    "iteration_tokens_total_count": (Rule("steps", rename=MODEL),),
    "request_prefill_time_seconds_sum": (
        Rule("request_seconds", rename=MODEL, label={"phase": "prefill"}),
    ),
    "request_decode_time_seconds_sum": (
        Rule("request_seconds", rename=MODEL, label={"phase": "decode"}),
    ),
    # What requests that ended had; what the counters have beside it ran on, or was aborted.
    "request_prompt_tokens_sum": (Rule("prompt_tokens_finished", rename=MODEL),),
    "request_generation_tokens_sum": (Rule("generation_tokens_finished", rename=MODEL),),
    "num_requests_running": (Rule("requests_running", rename=MODEL),),
    "gpu_cache_usage_perc": (Rule("kv_used", rename=MODEL),),
}

ENGINE = EngineMap(
    name="lmdeploy",
    path="/metrics",
    prefixes=("lmdeploy:", "lmdeploy_"),
    rules=RULES,
    anchor="prompt_tokens",
    as_of="2026-06",
    versions={
        "cached_tokens": "of 2026",
        "iteration_tokens": "of 2025",
        "generation_tokens": "older than 2025",
    },
    aside=frozenset({"request_prompt_tokens", "request_generation_tokens", "iteration_tokens"}),
)
