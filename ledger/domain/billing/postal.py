"""Finds post code and town in an address, which electronic invoices say apart."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ledger.domain.billing.agreement import Party

# What a post code is in countries that write it before the town, on the last line.
_CODES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("AT", "BE", "BG", "CH", "CY", "DK", "HU", "LU", "NO", "SI"), r"\d{4}"),
        **dict.fromkeys(("DE", "EE", "ES", "FI", "FR", "HR", "IT"), r"\d{5}"),
        **dict.fromkeys(("CZ", "GR", "SE", "SK"), r"\d{3} ?\d{2}"),
        **{"IS": r"\d{3}", "NL": r"\d{4} ?[A-Z]{2}", "PL": r"\d{2}-\d{3}", "PT": r"\d{4}-\d{3}"},
    }
)


class Town(NamedTuple):
    """Where a party is, as its post writes it; empty where its address does not tell."""

    postcode: str
    city: str


NOWHERE = Town("", "")


def address_lines(party: Party) -> list[str]:
    """Lines of the address that say something."""
    return [line.strip() for line in party.address.split("\n") if line.strip()]


def town_of(party: Party) -> Town:
    """Post code and town on the last of at least two lines of an address."""
    lines, code = address_lines(party), _CODES.get(party.country)
    if code is None or len(lines) < 2:
        return NOWHERE
    said = re.fullmatch(rf"(?:[A-Z]{{1,2}}-)?({code})\s+(\D+)", lines[-1])
    return Town(said[1], said[2]) if said else NOWHERE
