"""Text Generation Inference's /metrics to canonical counters: histogram sums, no labels, no run.

Input is counted when a request is accepted and output only when it ends well, so a dropped request
leaves input without output.
"""

from collectors.engines.counters import EngineMap, Rule

RULES = {
    "request_input_length_sum": (Rule("prompt_tokens"),),
    "request_generated_tokens_sum": (Rule("generation_tokens"),),
    "request_success": (Rule("requests_finished"),),
    "batch_inference_count": (Rule("steps", rename={"method": "phase"}),),
    "batch_forward_duration_sum": (Rule("busy_seconds", rename={"method": "phase"}),),
    "batch_current_size": (Rule("requests_running"),),
}

ENGINE = EngineMap(
    name="tgi",
    path="/metrics",
    prefixes=("tgi_",),
    rules=RULES,
    anchor="request_input_length",
    as_of="2025-12",
    versions={"request_skipped_tokens": "3", "request_input_length": "older than 3"},
    aside=frozenset(
        {
            *("request_max_new_tokens", "request_skipped_tokens"),
            *("batch_current_max_tokens", "batch_max_total_tokens"),
        }
    ),
)
