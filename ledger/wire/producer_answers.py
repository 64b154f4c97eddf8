"""What deployments, models and hardware took and made, as reports answer it."""

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Moment, Number


class Producer(ClosedModel):
    """All that GPUs took, idle as well, and what came out; amounts are in the report's currency,
    null is unknown."""

    name: str
    gpu_hours: Number
    utilisation_percent: Number
    energy_mj: int
    energy_kwh: Number
    cost: Amount | None
    input_tokens: int
    output_tokens: int
    joules_per_output_token: Number | None
    output_tokens_per_joule: Number | None
    output_tokens_per_kwh: Number | None
    output_tokens_per_gpu_hour: Number | None
    cost_per_million_output: Amount | None
    revenue: Amount | None
    revenue_per_gpu_hour: Amount | None


class Producers(ClosedModel):
    """Deployments, models, hardware or GPU types (`by`) in the `order` asked for; `missing` says
    what a cost or revenue lacks that is null. `unshared_revenue` is of models that no deployment
    worked for."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    currency: Currency
    missing: str | None
    by: str
    order: str
    items: list[Producer]
    unshared_revenue: Amount | None
