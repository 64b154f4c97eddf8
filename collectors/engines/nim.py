"""NVIDIA NIM's /v1/metrics to canonical counters: vLLM's names without a prefix.

One that hands on what its vLLM prints has the prefix.
"""

from collectors.engines import vllm
from collectors.engines.counters import EngineMap, Rule

RULES = {
    **vllm.RULES,
    "request_finish": (
        Rule("requests_finished", rename={**vllm.MODEL, "finished_reason": "reason"}),
    ),
}

ENGINE = EngineMap(
    name="nim",
    path="/v1/metrics",
    prefixes=("vllm:", "vllm_", ""),
    rules=RULES,
    anchor="prompt_tokens",
    as_of="2026-06",
    versions={
        "request_finish": "with names of its own",
        "kv_cache_usage_perc": "on vLLM of 2025-06 or later",
        "generation_tokens": "on an older vLLM",
    },
    aside=vllm.ASIDE,
)
