"""vLLM's /metrics to canonical counters, one series per data-parallel `engine`, none summed.

`prefix_cache_hits` is left out on purpose: it rose on every scheduling attempt. Requests' times in
a phase are sums over requests, which overlap: no busy time of a GPU.
"""

from collectors.engines.counters import EngineMap, Rule

MODEL = {"model_name": "model"}
RULES = {
    "prompt_tokens": (Rule("prompt_tokens", rename=MODEL),),
    "prompt_tokens_cached": (Rule("prompt_tokens_cached", rename=MODEL),),
    "prompt_tokens_by_source": (
        Rule("prompt_tokens_computed", where={"source": "local_compute"}, rename=MODEL),
    ),
    "generation_tokens": (Rule("generation_tokens", rename=MODEL),),
    "spec_decode_num_draft_tokens": (Rule("draft_tokens", rename=MODEL),),
    "spec_decode_num_accepted_tokens": (Rule("accepted_tokens", rename=MODEL),),
    "request_success": (Rule("requests_finished", rename={**MODEL, "finished_reason": "reason"}),),
    "num_preemptions": (Rule("preemptions", rename=MODEL),),
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
    "kv_cache_usage_perc": (Rule("kv_used", rename=MODEL),),
    # Its name until the middle of 2025.
    "gpu_cache_usage_perc": (Rule("kv_used", rename=MODEL),),
}
# What a request or a step had of tokens, positions of drafts, and times of a token.
ASIDE = frozenset(
    {
        *("request_prompt_tokens", "request_generation_tokens", "request_params_max_tokens"),
        *("request_max_num_generation_tokens", "request_prefill_kv_computed_tokens"),
        *("iteration_tokens", "spec_decode_num_accepted_tokens_per_pos"),
        *("prompt_tokens_recomputed", "tokens_per_step"),
    }
)

ENGINE = EngineMap(
    name="vllm",
    path="/metrics",
    # As printed by the server, by its port to Ray (which has no colon), and by relays without one.
    prefixes=("vllm:", "vllm_", "ray_vllm_", "ray_vllm:"),
    rules=RULES,
    anchor="prompt_tokens",
    as_of="2026-04",
    versions={
        "num_requests_waiting_by_reason": "of 2026-04 or later",
        "prompt_tokens_by_source": "of 2026-02",
        "kv_cache_usage_perc": "of 2025-06",
        "gpu_cache_usage_perc": "of 2025-01",
        "generation_tokens": "older than 2025",
    },
    aside=ASIDE,
)
