"""The margin report as programs get it: a plain object, every cost null where one is missing."""

from dataclasses import asdict
from decimal import Decimal
from typing import Any

from ledger.domain.cost.idle_policy import IdlePolicy
from ledger.domain.cost.margin import Margin
from ledger.domain.cost.uncertainty import Uncertainty
from ledger.domain.exchange import Conversion
from ledger.domain.money import plain
from ledger.reports.cost.figures import joules_per_output_token, known, kwh
from ledger.reports.cost.margin import Conservation, MarginReport
from ledger.reports.cost.margin_intervals import to_json as interval_json
from ledger.reports.cost.margin_rows import MarginRow, OwnLine
from ledger.store.cost.site_costs import SiteCostSum

# What is unknown where cost is missing.
COSTS = frozenset(
    {
        *("device_metered_mj", "device_estimated_mj", "host_mj", "overhead_mj", "energy_mj"),
        *("energy_kwh", "joules_per_output_token", "electricity", "gpu_cost", "cost_before_idle"),
        *("idle_share", "site_share", "cost", "gross_margin_before_idle_pct", "gross_margin_pct"),
        "markup_pct",
        *("idle_cost", "unattributed_cost", "site_costs", "site_cost", "sites_left"),
        "conservation",
    }
)


def to_json(report: MarginReport) -> dict[str, Any]:
    """Everything in the report; money as text in plain notation, counts as integers.

    Where `missing` says what the cost lacks, every cost and energy is null.
    """
    plain_form = _json(report)
    if report.missing is None:
        return plain_form
    plain_form["items"] = [_without_costs(row) for row in plain_form["items"]]
    plain_form["total"] = _without_costs(plain_form["total"])
    return _without_costs(plain_form)


def _without_costs(sums: dict[str, Any]) -> dict[str, Any]:
    return {name: None if name in COSTS else value for name, value in sums.items()}


def _json(report: MarginReport) -> dict[str, Any]:
    off = report.intervals
    return {
        **report.of_what(),
        "currency": report.currency,
        "missing": report.missing,
        "by": list(report.by),
        "items": [
            dict(zip(report.by, row.group, strict=True))
            | _row_json(row, row.cost, off.groups[row.group] if off else None)
            for row in report.rows
        ],
        "own_lines": [_own_json(line) for line in report.own_lines],
        "total": _row_json(report.total, report.cost, off.total if off else None),
        "energy_mj": report.energy_mj,
        "energy_kwh": kwh(report.energy_mj),
        "idle_policy": report.idle_policy,
        "idle_policies": [_policy_json(policy) for policy in report.policies],
        "site_policy": report.site_policy,
        "idle_cost": plain(report.idle_cost),
        "unattributed_cost": plain(report.unattributed_cost),
        "site_costs": [_site_json(each) for each in report.site_costs],
        "site_cost": plain(report.site_cost),
        "sites_left": plain(report.sites_left),
        "conservation": _conservation_json(report.conservation),
        "conversions": [_conversion_json(rate) for rate in report.conversions],
        "implausible": [asdict(each) for each in report.implausible],
    }


def _row_json(row: MarginRow, cost: Decimal, off: Uncertainty | None) -> dict[str, object]:
    before = Margin(row.revenue, row.cost_before_idle, "").gross_margin_pct
    margin = Margin(row.revenue, cost, "")
    return {
        "requests": row.requests,
        "input_tokens": row.known["input_tokens"],
        "input_uncached": row.known["uncached"],
        "input_cache_read": row.known["cache_read"],
        "input_cache_write": row.known["cache_write"],
        "output_tokens": row.known["output_tokens"],
        "device_metered_mj": row.metered_mj,
        "device_estimated_mj": row.estimated_mj,
        "host_mj": row.host_mj,
        "overhead_mj": row.overhead_mj,
        "energy_mj": row.energy_mj,
        "energy_kwh": kwh(row.energy_mj),
        "joules_per_output_token": joules_per_output_token(row.energy_mj, row.output),
        "electricity": plain(row.electricity),
        "gpu_cost": plain(row.gpu_cost),
        "cost_before_idle": plain(row.cost_before_idle),
        "idle_share": plain(row.idle_share),
        "site_share": plain(row.site_share),
        "cost": plain(cost),
        "revenue": plain(row.revenue),
        "unpriced_tokens": row.unpriced_tokens,
        "gross_margin_before_idle_pct": known(before),
        "gross_margin_pct": known(margin.gross_margin_pct),
        "markup_pct": known(margin.markup_pct),
        **({"interval": interval_json(row, cost, off)} if off else {}),
    }


def _own_json(line: OwnLine) -> dict[str, object]:
    return {
        "line": line.line,
        "scope": line.scope,
        "cause": line.cause,
        "device_metered_mj": line.metered_mj,
        "device_estimated_mj": line.estimated_mj,
        "energy_mj": line.energy_mj,
        "energy_kwh": kwh(line.energy_mj),
        "electricity": plain(line.electricity),
        "gpu_cost": plain(line.gpu_cost),
        "cost": plain(line.cost),
        "shared_by_nobody": plain(line.left),
    }


def _policy_json(policy: IdlePolicy) -> dict[str, object]:
    return {
        "scope": policy.scope or None,
        "version": policy.version,
        "method": policy.method,
        "reserved": dict(policy.reserved),
        "valid_from": policy.valid_from,
        "valid_to": policy.valid_to,
    }


def _site_json(each: SiteCostSum) -> dict[str, object]:
    return {
        "facility_id": each.facility_id,
        "name": each.name,
        "currency": each.currency,
        "amount": plain(each.amount),
    }


def _conservation_json(kept: Conservation) -> dict[str, object]:
    return {
        "metered_mj": kept.metered_mj,
        "estimated_mj": kept.estimated_mj,
        "metered_pct": known(kept.metered_pct),
        "energy_residual_mj": kept.energy_residual_mj,
        "cost_residual": plain(kept.cost_residual),
    }


def _conversion_json(rate: Conversion) -> dict[str, object]:
    return {
        "base": rate.base,
        "quote": rate.quote,
        "published": rate.published,
        "multiplier": plain(rate.multiplier),
        "divisor": plain(rate.divisor),
        "source": rate.source,
    }
