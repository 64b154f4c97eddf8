"""Whether an account that documents name can be paid to, by form and check digits."""

import re

from stdnum import iban
from stdnum.exceptions import ValidationError

from ledger.domain.errors import InvalidInputError

_IBAN = re.compile(r"[A-Za-z]{2}[0-9]{2}[A-Za-z0-9 ]+")


def is_iban(account: str) -> bool:
    """Whether it is written like an IBAN."""
    return bool(_IBAN.fullmatch(account))


def check_account(account: str) -> None:
    """InvalidInputError where it is written like an IBAN and is none; of others we know nothing."""
    if not is_iban(account):
        return
    try:
        iban.validate(account)
    except ValidationError as error:
        raise InvalidInputError(
            f"{account!r} is no IBAN: {str(error).lower().rstrip('.')}.",
            "Write it as the bank gave it.",
            "payment_account",
        ) from None
