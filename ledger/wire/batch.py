"""A batch: one Kafka record or one HTTP body of events, with the headers that give it its place."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ledger.wire.errors import BatchHeaderError, shorten

TOPIC = "tokenledger.events.v1"
MAX_BATCH_BYTES = 768 * 1024
MAX_BATCH_EVENTS = 100_000

NDJSON = "ndjson.v1"
COLUMNAR = "columnar.v1"
# Encoding name to the media type its HTTP body has. A new encoding is one line here and one codec.
ENCODINGS: Mapping[str, str] = MappingProxyType(
    {NDJSON: "application/x-ndjson", COLUMNAR: "application/vnd.tokenledger.columnar"}
)

HEADER_SOURCE = "tl-source"
HEADER_PRODUCER = "tl-producer"
HEADER_EPOCH = "tl-epoch"
HEADER_SEQUENCE = "tl-sequence"
HEADER_COUNT = "tl-count"
HEADER_ENCODING = "tl-encoding"
HEADERS = (
    HEADER_SOURCE,
    HEADER_PRODUCER,
    HEADER_EPOCH,
    HEADER_SEQUENCE,
    HEADER_COUNT,
    HEADER_ENCODING,
)

FIRST_SEQUENCE = 1
NAME_CHARS_MAX = 200
_NUMBER_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """The place of a batch: (producer, epoch, sequence) never names two different batches.

    `sequence` counts from 1 without holes within an epoch; `count` is the number of events;
    every event of the batch has `source` as its CloudEvents source.
    """

    source: str
    producer: str
    epoch: int
    sequence: int
    count: int
    encoding: str = NDJSON

    def __post_init__(self) -> None:
        _check_name(HEADER_SOURCE, self.source)
        _check_name(HEADER_PRODUCER, self.producer)
        _check_number(HEADER_EPOCH, self.epoch, low=0, high=_NUMBER_MAX)
        _check_number(HEADER_SEQUENCE, self.sequence, low=FIRST_SEQUENCE, high=_NUMBER_MAX)
        _check_number(HEADER_COUNT, self.count, low=1, high=MAX_BATCH_EVENTS)
        if self.encoding not in ENCODINGS:
            known = ", ".join(ENCODINGS)
            raise BatchHeaderError(
                f"{HEADER_ENCODING}: found {shorten(self.encoding)}; use one of {known}"
            )

    def to_fields(self) -> dict[str, str]:
        """The six headers as text, in a fixed order: what an HTTP request carries."""
        values = (
            self.source,
            self.producer,
            str(self.epoch),
            str(self.sequence),
            str(self.count),
            self.encoding,
        )
        return dict(zip(HEADERS, values, strict=True))

    def to_headers(self) -> list[tuple[str, bytes]]:
        """The six headers as a Kafka header list."""
        return [(name, value.encode()) for name, value in self.to_fields().items()]

    @classmethod
    def from_headers(
        cls, headers: Iterable[tuple[str, bytes | str | None]] | Mapping[str, str]
    ) -> "BatchHeader | None":
        """Read Kafka or HTTP headers, names in any case; None when there is no tl-* header.

        Some of the headers only, or one of them twice, is refused: half a place is no place.
        """
        fields = _tl_fields(headers.items() if isinstance(headers, Mapping) else headers)
        if not fields:
            return None
        missing = [name for name in HEADERS if name not in fields]
        if missing:
            raise BatchHeaderError(f"{missing[0]}: missing; send all of {', '.join(HEADERS)}")
        return cls(
            source=fields[HEADER_SOURCE],
            producer=fields[HEADER_PRODUCER],
            epoch=_number(HEADER_EPOCH, fields),
            sequence=_number(HEADER_SEQUENCE, fields),
            count=_number(HEADER_COUNT, fields),
            encoding=fields[HEADER_ENCODING],
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch ready to be sent: its place and its encoded events."""

    header: BatchHeader
    body: bytes


def ordinal_id(*, epoch: int, sequence: int, ordinal: int) -> str:
    """The id of an event of a sequenced batch, `epoch.sequence.ordinal`, ordinals from 0."""
    return f"{epoch}.{sequence}.{ordinal}"


def _tl_fields(headers: Iterable[tuple[str, bytes | str | None]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.lower()
        if name not in HEADERS:
            continue
        if name in fields:
            raise BatchHeaderError(f"{name}: found twice; send it once")
        fields[name] = _text(name, raw_value)
    return fields


def _text(name: str, value: bytes | str | None) -> str:
    if isinstance(value, str):
        return value
    try:
        return (value or b"").decode()
    except UnicodeDecodeError as error:
        raise BatchHeaderError(f"{name}: found bytes that are not UTF-8; send text") from error


def _number(name: str, fields: Mapping[str, str]) -> int:
    text = fields[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise BatchHeaderError(f"{name}: found {shorten(text)}; send a whole number in digits")
    return int(text)


def _check_name(name: str, value: str) -> None:
    if not 1 <= len(value) <= NAME_CHARS_MAX or not value.isascii() or not value.isprintable():
        raise BatchHeaderError(
            f"{name}: found {shorten(value)}; send 1 to {NAME_CHARS_MAX} printable ASCII characters"
        )


def _check_number(name: str, value: int, *, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BatchHeaderError(f"{name}: found {shorten(value)}; send {low} to {high}")
