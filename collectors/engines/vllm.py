"""vLLM's /metrics to canonical counters, one series per data-parallel `engine`, none summed.

`prefix_cache_hits` is left out on purpose: it rose on every scheduling attempt.
"""

from collectors.engines.counters import EngineMap, EngineReading, Rule, read_counters
from collectors.exposition import Exposition

# As printed by the server, by its port to Ray (which has no colon), and by relays without one.
PREFIXES = ("vllm:", "vllm_", "ray_vllm_", "ray_vllm:")
_MODEL = {"model_name": "model"}

RULES = {
    "prompt_tokens": (Rule("prompt_tokens", rename=_MODEL),),
    "prompt_tokens_cached": (Rule("prompt_tokens_cached", rename=_MODEL),),
    "prompt_tokens_by_source": (
        Rule("prompt_tokens_computed", where={"source": "local_compute"}, rename=_MODEL),
    ),
    "generation_tokens": (Rule("generation_tokens", rename=_MODEL),),
    "spec_decode_num_draft_tokens": (Rule("draft_tokens", rename=_MODEL),),
    "spec_decode_num_accepted_tokens": (Rule("accepted_tokens", rename=_MODEL),),
    "request_success": (Rule("requests_finished", rename={**_MODEL, "finished_reason": "reason"}),),
    "num_preemptions": (Rule("preemptions", rename=_MODEL),),
}


def read(exposition: Exposition) -> EngineReading:
    """The counters of one scrape; a family the build does not have is absent."""
    return read_counters(exposition, prefixes=PREFIXES, rules=RULES, anchor="prompt_tokens")


ENGINE = EngineMap(name="vllm", path="/metrics", read=read)
