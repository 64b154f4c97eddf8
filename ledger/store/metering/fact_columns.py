"""The columns of usage_fact, each as a frame holds it, and of extras as a file does."""

import polars as pl

TIME = pl.Datetime("us", "UTC")
SCHEMA = pl.Schema(
    {
        "stored_day": pl.Date(),
        "lane": pl.Int16(),
        "batch_seq": pl.Int64(),
        "ordinal": pl.Int32(),
        "kind": pl.Int16(),
        "flags": pl.Int32(),
        "source_id": pl.Int32(),
        **dict.fromkeys(("usage_key_id", "engine_key_id"), pl.Int64()),
        **dict.fromkeys(("time", "started_at", "first_token_at", "ended_at"), TIME),
        **dict.fromkeys(("queue_ms", "requests"), pl.Int64()),
        **dict.fromkeys(("uncached", "cache_read", "cache_write"), pl.Int64()),
        **dict.fromkeys(("visible", "reasoning"), pl.Int64()),
        **dict.fromkeys(("event_id", "agent_run_id", "end_user"), pl.String()),
    }
)
# What one fact counts of one meter, a row.
EXTRA_SCHEMA = pl.Schema(
    {
        **{name: SCHEMA[name] for name in ("stored_day", "batch_seq", "ordinal")},
        "meter": pl.String(),
        **{name: SCHEMA[name] for name in ("usage_key_id", "time")},
        "quantity": pl.Int64(),
    }
)
# Where a fact is in the stored order.
FACT_KEY = pl.Schema({name: SCHEMA[name] for name in ("batch_seq", "ordinal")})
