"""Triton with the TensorRT-LLM backend: token histograms' sums to canonical counters.

Requests are left out: an ensemble counts one once for itself and once for each model inside it.
"""

from collectors.engines.counters import EngineMap, Rule

_KIND = "response_metric_type"

RULES = {
    "llm_input_token_len_sum": (Rule("prompt_tokens", where={_KIND: "total_input_tokens"}),),
    "llm_output_token_len_sum": (Rule("generation_tokens", where={_KIND: "total_output_tokens"}),),
    "trt_llm_general_metrics": (Rule("steps", where={"general_type": "iteration_counter"}),),
    "trt_llm_request_metrics": (Rule("requests_running", where={"request_type": "active"}),),
    "trt_llm_kv_cache_block_metrics": (Rule("kv_used", where={"kv_cache_block_type": "fraction"}),),
}

ENGINE = EngineMap(
    name="triton",
    path="/metrics",
    prefixes=("nv_",),
    rules=RULES,
    anchor="llm_input_token_len",
    as_of="2026-05",
    versions={
        "llm_input_token_len": "with token histograms",
        "inference_count": "without token histograms",
    },
)
