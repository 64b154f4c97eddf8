"""The inference servers whose counters can be read; a new one is a file here and a line below."""

from collections.abc import Mapping
from types import MappingProxyType

from collectors.engines import llamacpp, sglang, tgi, triton, vllm
from collectors.engines.counters import EngineMap

ENGINES: Mapping[str, EngineMap] = MappingProxyType(
    {
        "llamacpp": llamacpp.ENGINE,
        "sglang": sglang.ENGINE,
        "tgi": tgi.ENGINE,
        "triton": triton.ENGINE,
        "vllm": vllm.ENGINE,
    }
)
