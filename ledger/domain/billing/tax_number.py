"""Whether a tax number is one of its country, by form and check digits; not whether it is used."""

from stdnum import get_cc_module
from stdnum.exceptions import ValidationError
from stdnum.gb import vat as british

from ledger.domain.errors import InvalidInputError

# Where a country's numbers have another prefix than the country.
_PREFIXES = {"GR": "EL"}
_EU = frozenset(
    (
        *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU"),
        *("IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK", "XI"),
    )
)


def check_tax_number(number: str, country: str, where: str = "tax_number") -> str:
    """The number as it is written on documents; InvalidInputError where it is not one of there.

    Of a country whose numbers are not known to us any text is.
    """
    form = british if country == "XI" else get_cc_module(country.lower(), "vat")
    if form is None:
        return number.strip()
    prefix = _PREFIXES.get(country, country)
    try:
        compact: str = form.validate(number)
    except ValidationError as error:
        raise InvalidInputError(
            f"{number!r} is no tax number of {country}: {str(error).lower().rstrip('.')}.",
            f"Write it as {country} gave it, with {prefix} in front or without.",
            where,
        ) from None
    if country not in _EU:
        return number.strip()
    return compact if compact.startswith(prefix) else f"{prefix}{compact}"


def country_of(number: str) -> str | None:
    """The EU country that a number with a prefix names, in two letters; None for any other."""
    prefix = number.strip()[:2].upper()
    country = {value: key for key, value in _PREFIXES.items()}.get(prefix, prefix)
    return country if country in _EU else None
