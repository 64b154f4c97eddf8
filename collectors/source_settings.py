"""What a source besides the boards of this host is told, in `[[collect.sources]]`."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

Quantity = Literal["energy", "power"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """One source: its `kind`, where it is, and what its meter is called.

    `meter` names what the readings are of where the source does not say it: a GPU's UUID, or the
    name under which a host's or a site's meter is entered. `unit_scale` makes watts, or joules, of
    what is read.
    """

    kind: str
    meter: str = field(default="", metadata={"high": 120})
    url: str = field(default="", repr=False)
    path: Path | None = None
    interval_s: Decimal = field(default=Decimal(1), metadata={"low": Decimal("0.05"), "high": 3600})
    timeout_s: Decimal = field(default=Decimal(5), metadata={"low": Decimal("0.001"), "high": 60})
    quantity: Quantity = "power"
    unit_scale: Decimal = Decimal(1)
    user: str | None = None
    secret_file: Path | None = None
    ssl_cafile: Path | None = None
    zone: str = "UTC"
    address: int = field(default=0, metadata={"low": 0, "high": 65_535})
    device: int = field(default=1, metadata={"low": 0, "high": 255})
    value_type: Literal["u16", "u32", "u64", "f32"] = "u32"
    oid: str = ""
