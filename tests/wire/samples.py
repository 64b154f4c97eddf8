"""Well-formed events, each the smallest or the fullest of its type, for tests to bend."""

from typing import Any


def usage_event(**data: Any) -> dict[str, Any]:
    """The fullest usage event: an aborted stream with a cached prompt."""
    return {
        "specversion": "1.0",
        "id": "req_01JZX7.1.0",
        "source": "/gateways/eu-1/llm",
        "type": "inference.usage.v1",
        "subject": data.get("customer_id") or "cust_acme",
        "time": "2026-08-06T06:31:12.418Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:inference-usage:1",
        "partitionkey": "gw-eu-1-3",
        "recordedtime": "2026-08-06T06:31:12.455Z",
        "data": usage_data() | data,
    }


def usage_data() -> dict[str, Any]:
    """The data of that event."""
    return {
        "schema_version": 1,
        "request_id": "req_01JZX7",
        "attempt": 1,
        "revision": 0,
        "operation": "chat",
        "customer_id": "cust_acme",
        "project_id": "prj_support",
        "api_key_id": "key_7d",
        "plan_tier": "priority",
        "agent": {"id": "agt_triage", "name": "Ticket triage", "run_id": "run_551", "step": 4},
        "provider": "self_hosted",
        "request_model": "support-large",
        "served_model": "Qwen/Qwen3-32B",
        "adapter": "acme-tone-v2",
        "service_tier_served": "priority",
        "region": "eu-1",
        "started_at": "2026-08-06T06:31:07.902Z",
        "first_token_at": "2026-08-06T06:31:08.140Z",
        "ended_at": "2026-08-06T06:31:12.418Z",
        "status": "client_aborted",
        "finish_reasons": [],
        "usage": {
            "input": {"uncached": 1312, "cache_read": 4096, "cache_write": 0},
            "output": {"visible": 187, "reasoning": None},
            "input_total": 5408,
            "output_total": 187,
            "context_tokens": 5408,
            "choices": 1,
            "source": "engine_running",
            "complete": False,
        },
        "engine": {"name": "sglang", "instance": "pod-uid-3c1", "gpu_uuids": ["GPU-c37b02d9"]},
    }


def energy_event(**data: Any) -> dict[str, Any]:
    """One good reading of an energy counter."""
    reading = {"gpu_uuid": "GPU-c37b02d9", "epoch": "boot-1.0", "energy_mj": 123_456_789}
    return {
        "specversion": "1.0",
        "id": "1.1.0",
        "source": "/hosts/gpu-01",
        "type": "gpu.energy.v1",
        "time": "2026-08-06T06:31:12.418Z",
        "data": reading | data,
    }


def gap_event(**data: Any) -> dict[str, Any]:
    """One stretch of a board without readings."""
    gap = {"gpu_uuid": "GPU-c37b02d9", "reason": "gpu_lost", "since": "2026-08-06T06:30:12.418Z"}
    return {
        "specversion": "1.0",
        "id": "1.1.2",
        "source": "/hosts/gpu-01",
        "type": "meter.gap.v1",
        "time": "2026-08-06T06:31:12.418Z",
        "data": gap | data,
    }


def counters_event(**data: Any) -> dict[str, Any]:
    """One scrape with one counter."""
    value = {"name": "prompt_tokens", "labels": {"engine": "0"}, "value": "9081.0"}
    scrape = {"engine": "vllm", "instance": "pod-1", "run_id": "pod-1@95", "values": [value]}
    return {
        "specversion": "1.0",
        "id": "1.1.1",
        "source": "/hosts/gpu-01",
        "type": "engine.counters.v1",
        "time": "2026-08-06T06:31:12.418Z",
        "data": scrape | data,
    }
