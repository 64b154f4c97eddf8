"""Draws a seller's logo above its documents."""

import json

import typst

from ledger.documents.fonts import compile_shown
from ledger.domain.errors import InvalidInputError
from ledger.wire.logo import PNG, Logo

_PROBE = (
    b'#set document(title: "logo", date: datetime(year: 2000, month: 1, day: 1))\n'
    b'#if "png" in sys.inputs { image(bytes(json(bytes(sys.inputs.png)))) } else'
    b' { image(bytes(sys.inputs.svg), format: "svg") }'
)


def logo_inputs(logo: Logo | None) -> dict[str, str]:
    """What a template is given to draw it with; nothing without one."""
    if logo is None:
        return {}
    if logo.media_type == PNG:
        return {"png": json.dumps(list(logo.content), separators=(",", ":"))}
    return {"svg": logo.content.decode()}


def check_drawn(logo: Logo) -> None:
    """InvalidInputError where a document with it cannot be made."""
    try:
        compile_shown(_PROBE, logo_inputs(logo))
    except typst.TypstError as error:
        raise InvalidInputError(
            f"The logo cannot be drawn: {error}.", "Save it as PNG, in RGB, and try that.", "logo"
        ) from error
