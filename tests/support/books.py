"""Rows as ingest and the inputs by hand leave them, for tests of what comes after."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from asyncpg import BitString

from ledger.domain.cost.weights import Weights
from ledger.store.connect import draw_batch_seq
from ledger.store.queries import Connection


def content_id(*parts: object) -> int:
    """A stable 64-bit id of what a key says; never 0."""
    digest = blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True) or 1


def seconds_mask(seconds: Iterable[int]) -> BitString:
    """A busy mask with the named seconds set: bit n is the nth from the left, the high end."""
    return BitString.from_int(sum(1 << (899 - n) for n in set(seconds)), 900)


@dataclass(frozen=True, slots=True)
class Buyer:
    """Whose usage it is; `customer_id` None is a customer nobody knows."""

    customer_id: str | None = "acme"
    customer_ref: str = "acme"
    entity_id: str | None = "factory"
    tier: str = "standard"
    model: str = "llama"
    agent_id: str = ""
    project_id: str = ""
    outcomes: int = 0

    @property
    def usage_key_id(self) -> int:
        return content_id("usage", *(getattr(self, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class Tokens:
    """What was worked on in one window."""

    uncached: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0


DECLARED = Weights()
NO_LABELS: Mapping[str, str] = MappingProxyType({})
NO_GPUS: Mapping[str, Sequence[str]] = MappingProxyType({})


class Books:
    """Writes rows straight into the tables, each call as one stored batch."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def _store(self, sql: str, *rows: tuple[Any, ...]) -> int:
        async with self.connection.transaction():
            batch_seq = await draw_batch_seq(self.connection)
            for row in rows:
                await self.connection.execute(sql, *row, batch_seq)
        return batch_seq

    async def entity(
        self, entity_id: str = "factory", *, currency: str = "EUR", zone: str = "UTC"
    ) -> None:
        await self._store(
            """WITH detail AS (
                 INSERT INTO entity_detail (entity_id, name, valid, recorded)
                 VALUES ($1, $1, '[2000-01-01 00:00+00,)', int8range($4, NULL)))
               INSERT INTO entity (entity_id, currency, zone, invoice_prefix, batch_seq)
               VALUES ($1, $2, $3, $1, $4)""",
            (entity_id, currency, zone),
        )

    async def customer(self, customer_id: str = "acme", entity_id: str = "factory") -> None:
        await self._store(
            """WITH detail AS (
                 INSERT INTO customer_detail (customer_id, name, valid, recorded)
                 VALUES ($1, $1, '[2000-01-01 00:00+00,)', int8range($3, NULL)))
               INSERT INTO customer (customer_id, entity_id, batch_seq) VALUES ($1, $2, $3)""",
            (customer_id, entity_id),
        )

    async def facility(
        self, facility_id: str = "site", entity_id: str = "factory", *, zone: str = "UTC"
    ) -> None:
        await self._store(
            """INSERT INTO facility (facility_id, entity_id, name, zone, batch_seq)
               VALUES ($1, $2, $1, $3, $4)""",
            (facility_id, entity_id, zone),
        )

    async def pue(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        pue: str = "1.2",
        host_mw_per_gpu: int = 0,
        facility_id: str = "site",
    ) -> None:
        await self._store(
            """INSERT INTO facility_pue (facility_id, pue, host_mw_per_gpu, valid, recorded)
               VALUES ($1, $2, $3, tstzrange($4, $5), int8range($6, NULL))""",
            (facility_id, Decimal(pue), host_mw_per_gpu, since, until),
        )

    async def tariff(
        self,
        prices: Sequence[tuple[datetime, datetime, str]],
        *,
        tariff_id: str = "power",
        facility_id: str = "site",
        currency: str = "EUR",
    ) -> None:
        """(from, to, price per MWh) of each period."""
        await self._store(
            """INSERT INTO tariff (tariff_id, facility_id, name, currency, batch_seq)
               VALUES ($1, $2, $1, $3, $4) ON CONFLICT DO NOTHING""",
            (tariff_id, facility_id, currency),
        )
        await self._store(
            """INSERT INTO tariff_price (tariff_id, facility_id, period, price_per_mwh, recorded)
               VALUES ($1, $2, tstzrange($3, $4), $5, int8range($6, NULL))""",
            *(
                (tariff_id, facility_id, since, until, Decimal(price))
                for since, until, price in prices
            ),
        )

    async def lease(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        asset_id: str = "rack",
        gpu_count: int = 1,
        rate: str = "2",
        all_in: bool = True,
        currency: str = "EUR",
        entity_id: str = "factory",
        facility_id: str = "site",
        gpu_type: str | None = None,
    ) -> None:
        await self._store(
            """INSERT INTO asset (asset_id, entity_id, facility_id, name, terms, gpu_count,
                                  currency, gpu_hour_rate, all_in, gpu_type, valid, recorded)
               VALUES ($1,$2,$3,$1,'lease',$4,$5,$6,$7,$8,tstzrange($9,$10),int8range($11,NULL))""",
            (
                *(asset_id, entity_id, facility_id, gpu_count, currency, Decimal(rate), all_in),
                *(gpu_type, since, until),
            ),
        )

    async def owned(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        asset_id: str = "rack",
        gpu_count: int = 1,
        price: str = "30000",
        residual: str = "0",
        life_months: int = 48,
        currency: str = "EUR",
        entity_id: str = "factory",
        facility_id: str = "site",
    ) -> None:
        await self._store(
            """INSERT INTO asset (asset_id, entity_id, facility_id, name, terms, gpu_count,
                                  currency, purchase_price, residual_value, life_months,
                                  in_service, valid, recorded)
               VALUES ($1, $2, $3, $1, 'owned', $4, $5, $6, $7, $8, $9,
                       tstzrange($9, $10), int8range($11, NULL))""",
            (
                *(asset_id, entity_id, facility_id, gpu_count, currency, Decimal(price)),
                *(Decimal(residual), life_months, since, until),
            ),
        )

    async def deployment(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        deployment_id: str = "chat",
        asset_id: str = "rack",
        model: str = "llama",
        tier: str | None = None,
        gpus: Sequence[str] = (),
        gpu_count: int | None = None,
        instances: Sequence[str] = (),
        entity_id: str = "factory",
        weights: Weights = DECLARED,
        idle_mw_per_gpu: int | None = None,
        instance_gpus: Mapping[str, Sequence[str]] = NO_GPUS,
        gpu_parts: int = 7_000_000,
        gpu_split: str = "share",
        prefill_chunk: int | None = None,
    ) -> None:
        await self._store(
            """WITH d AS (INSERT INTO deployment (
                   deployment_id, entity_id, asset_id, model, tier, gpu_count, gpu_uuids,
                   engine_instances, weight_version, weight_uncached, weight_cache_read,
                   weight_cache_write, weight_output, weight_context, weight_step, idle_mw_per_gpu,
                   instance_gpus, gpu_parts, gpu_split, prefill_chunk, valid, recorded)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                   $18, $19, $20, tstzrange($21, $22), int8range($23, NULL)) RETURNING *)
               INSERT INTO deployment_member (
                 deployment_row_id, deployment_id, member, kind, parts, valid, recorded)
               SELECT deployment_row_id, deployment_id, m.*, valid, recorded FROM d,
                 LATERAL (SELECT unnest(gpu_uuids), 'gpu', gpu_parts
                          UNION ALL SELECT unnest(engine_instances), 'instance', 7000000) m""",
            (
                *(deployment_id, entity_id, asset_id, model, tier, gpu_count or len(gpus) or 1),
                *(list(gpus), list(instances), *astuple(weights), idle_mw_per_gpu),
                *(dict(instance_gpus), gpu_parts, gpu_split, prefill_chunk, since, until),
            ),
        )

    async def close(self, table: str, condition: str) -> int:
        """End what is known: rows matching `condition` are recorded up to a new batch only."""
        return await self._store(
            f"""UPDATE {table} SET recorded = int8range(lower(recorded), $1)
                 WHERE upper_inf(recorded) AND {condition}""",
            (),
        )

    async def source(self, source: str = "test") -> int:
        await self._store(
            """INSERT INTO source (source, form, batch_seq) VALUES ($1, 'keyed', $2)
               ON CONFLICT DO NOTHING""",
            (source,),
        )
        found = await self.connection.fetchval(
            "SELECT source_id FROM source WHERE source = $1", source
        )
        return int(found)

    async def readings(
        self,
        gpu_uuid: str,
        readings: Sequence[tuple[datetime, int]],
        *,
        epoch: str = "boot-1",
        source: str = "test",
        power_mw: int | None = None,
        boot: tuple[str, str, Sequence[int]] | None = None,
        scope: str = "gpu",
    ) -> int:
        """(sampled at, counter in mJ) of one GPU; `boot`: its id, driver's load, microseconds."""
        source_id = await self.source(source)
        async with self.connection.transaction():
            batch_seq, day = await draw_batch_seq(self.connection), await self._stored_day()
            await self.connection.copy_records_to_table(
                "gpu_reading",
                columns=(
                    *("stored_day", "batch_seq", "ordinal", "source_id", "gpu_uuid", "epoch"),
                    *("sampled_at", "energy_mj", "power_mw", "method", "quality"),
                    *("boot_id", "driver_load", "monotonic_us", "scope"),
                ),
                records=[
                    (
                        *(day, batch_seq, n, source_id, gpu_uuid, epoch),
                        *(at, mj, power_mw, "nvml_counter", "good"),
                        *((None,) * 3 if boot is None else (*boot[:2], boot[2][n])),
                        scope,
                    )
                    for n, (at, mj) in enumerate(readings)
                ],
            )
        return batch_seq

    async def energy_meter(
        self,
        meter: str,
        since: datetime,
        until: datetime,
        *,
        measures: str = "gpu",
        gpus: Sequence[str] = (),
        gain: str = "1",
        offset_mw: int = 0,
    ) -> None:
        """What a meter of the site measures, and its calibration."""
        await self._store(
            """INSERT INTO energy_meter (meter, facility_id, measures, gpu_uuids, gain, offset_mw,
                                         valid, recorded)
               VALUES ($1, 'site', $2, $3, $4, $5, tstzrange($6, $7), int8range($8, NULL))""",
            (meter, measures, list(gpus), Decimal(gain), offset_mw, since, until),
        )

    async def site_cost(
        self,
        name: str,
        since: datetime,
        until: datetime | None = None,
        *,
        amount: str = "1",
        per: str = "hour",
        currency: str = "EUR",
        facility_id: str = "site",
    ) -> None:
        """A standing cost of the site."""
        params = {"amount": amount, "per": per, "share": "1"}
        await self._store(
            """INSERT INTO site_cost_term (facility_id, name, currency, kind, params, valid,
                                           recorded)
               VALUES ($1, $2, $3, 'standing', $4, tstzrange($5, $6), int8range($7, NULL))""",
            (facility_id, name, currency, params, since, until),
        )

    async def grid_factor(self, kind: str, since: datetime, until: datetime, per_kwh: str) -> None:
        """What a kWh of the site takes."""
        await self._store(
            """INSERT INTO grid_factor (facility_id, kind, source, period, per_kwh, recorded)
               VALUES ('site', $1, 'test', tstzrange($2, $3), $4, int8range($5, NULL))""",
            (kind, since, until, Decimal(per_kwh)),
        )

    async def meter_gap(self, gpu_uuid: str, reason: str, since: datetime, until: datetime) -> None:
        """What a collector told of a meter that gave no reading."""
        source_id = await self.source("test")
        async with self.connection.transaction():
            batch_seq = await draw_batch_seq(self.connection)
            await self.connection.execute(
                """INSERT INTO meter_gap (stored_day, batch_seq, ordinal, source_id, gpu_uuid,
                                          reason, since, until)
                   VALUES ($1, $2, 0, $3, $4, $5, $6, $7)""",
                *(await self._stored_day(), batch_seq, source_id, gpu_uuid, reason, since, until),
            )

    async def _stored_day(self) -> Any:
        await self.connection.fetchval("SELECT ensure_partitions(current_date, 1)")
        return await self.connection.fetchval("SELECT current_date")

    async def usage(
        self,
        window: datetime,
        tokens: Tokens,
        *,
        buyer: Buyer = Buyer(),
        instance: str = "",
        busy: Iterable[int] = range(900),
    ) -> int:
        """Work of one buyer in one window, on one engine, busy in the named seconds."""
        return await self.usages([(window, tokens, buyer)], instance=instance, busy=busy)

    async def usages(
        self,
        rows: Sequence[tuple[datetime, Tokens, Buyer]],
        *,
        instance: str = "",
        busy: Iterable[int] = range(900),
    ) -> int:
        """Work in one stored batch; every engine and window named is busy in the named seconds."""
        mask = seconds_mask(busy)
        engines = {
            content_id("engine", instance, b.model, b.tier): (instance, b.model, b.tier)
            for _, _, b in rows
        }
        async with self.connection.transaction():
            batch_seq = await draw_batch_seq(self.connection)
            await self._keys({b for _, _, b in rows}, engines)
            await self._deltas(rows, instance, batch_seq)
            await self._masks(rows, instance, mask, batch_seq)
        return batch_seq

    async def _masks(
        self,
        rows: Sequence[tuple[datetime, Tokens, Buyer]],
        instance: str,
        mask: BitString,
        batch_seq: int,
    ) -> None:
        places = {(content_id("engine", instance, b.model, b.tier), at) for at, _, b in rows}
        await self.connection.copy_records_to_table(
            "activity_mask",
            columns=("engine_key_id", "window_start", "batch_seq", "mask"),
            records=[(key, window, batch_seq, mask) for key, window in sorted(places)],
        )

    async def _keys(self, buyers: set[Buyer], engines: dict[int, tuple[str, str, str]]) -> None:
        await self.connection.executemany(
            """INSERT INTO usage_key (usage_key_id, entity_id, customer_id, customer_ref, tier,
                                      model, agent_id, project_id, outcomes)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING""",
            [
                (
                    *(b.usage_key_id, b.entity_id, b.customer_id, b.customer_ref, b.tier),
                    *(b.model, b.agent_id, b.project_id, b.outcomes),
                )
                for b in buyers
            ],
        )
        await self.connection.executemany(
            """INSERT INTO engine_key (engine_key_id, engine_instance, model, tier)
               VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING""",
            [(key, *where) for key, where in engines.items()],
        )

    async def _deltas(
        self, rows: Sequence[tuple[datetime, Tokens, Buyer]], instance: str, batch_seq: int
    ) -> None:
        await self.connection.copy_records_to_table(
            "activity",
            columns=(
                *("engine_key_id", "window_start", "usage_key_ids", "batch_seq"),
                *("uncached", "cache_read", "cache_write", "output"),
            ),
            records=[
                (
                    *(content_id("engine", instance, b.model, b.tier), window, [b.usage_key_id]),
                    *(batch_seq, [t.uncached], [t.cache_read], [t.cache_write], [t.output]),
                )
                for window, t, b in rows
            ],
        )
        await self.connection.copy_records_to_table(
            "usage_delta",
            columns=(
                *("customer_id", "usage_key_id", "window_start", "batch_seq", "requests"),
                *("uncached", "cache_read", "cache_write", "visible", "reasoning"),
            ),
            records=[
                (
                    *(b.customer_id, b.usage_key_id, window, batch_seq, 1),
                    *(t.uncached, t.cache_read, t.cache_write, t.output, 0),
                )
                for window, t, b in rows
            ],
        )

    async def charge(
        self,
        window: datetime,
        amount: str | None,
        *,
        buyer: Buyer = Buyer(),
        currency: str = "EUR",
        meter: str = "output_visible",
        quantity: int = 1,
    ) -> None:
        """What a buyer owes for the day of a window; `amount` None waits for a price."""
        await self._store(
            """INSERT INTO charge_day (customer_id, usage_key_id, day_start, meter, cut_off_id,
                                       entity_id, subscription_id, quantity, currency, amount,
                                       unpriced, price_id, batch_seq)
               SELECT $1, ARRAY[$2::bigint], date_trunc('day', $3::timestamptz, zone), ARRAY[$4],
                      cut_off_id, $5, 'sub', ARRAY[$6::numeric], $7,
                      CASE WHEN $9::text IS NULL THEN ARRAY[$8::numeric] END, $9,
                      ARRAY[NULL::bigint], $10
                 FROM draw_cut_off('test'), entity WHERE entity_id = $5""",
            (
                *(buyer.customer_id, buyer.usage_key_id, window, meter, buyer.entity_id, quantity),
                *(currency, amount and Decimal(amount), None if amount else "no price"),
            ),
        )

    async def fx(self, base: str, quote: str, day: date, rate: str) -> None:
        await self._store(
            """INSERT INTO fx_rate (base, quote, day, rate, source, recorded)
               VALUES ($1, $2, $3, $4, 'test', int8range($5, NULL))""",
            (base, quote, day, Decimal(rate)),
        )

    async def counters(
        self,
        instance: str,
        values: Sequence[tuple[datetime, str, int | Decimal]],
        *,
        labels: Mapping[str, str] = NO_LABELS,
        run_id: str = "first",
        rounded: bool = False,
    ) -> None:
        """(scraped at, counter, value) of one engine instance."""
        source_id = await self.source()
        day = await self._stored_day()
        await self._store(
            """INSERT INTO counter_reading (stored_day, ordinal, source_id, engine, engine_instance,
                    run_id, scraped_at, metric, labels, value, precision_loss, batch_seq)
               VALUES ($1, 0, $2, 'vllm', $3, $4, $5, $6, $7, $8, $9, $10)""",
            *(
                (day, source_id, instance, run_id, at, metric, dict(labels), value, rounded)
                for at, metric, value in values
            ),
        )
