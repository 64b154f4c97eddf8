"""The places of hardware numbers; a new one is a file here and a line below."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import import_module
from types import MappingProxyType

from collectors.errors import CollectSettingsError, SourceError
from collectors.settings import CollectSettings
from collectors.source_settings import SourceSettings
from collectors.sources.beside import SourcesBeside
from collectors.sources.host_clock import silence_of
from collectors.sources.nvml import RETRY_S, NvmlSource
from collectors.sources.record import Recording
from collectors.sources.source import Source, SourceSample
from collectors.sources.watch import WatchedSource

__all__ = [
    "SOURCES",
    "Source",
    "SourceSample",
    "open_named",
    "open_nvml",
    "open_replay",
    "open_source",
]

log = logging.getLogger(__name__)

SourceOpener = Callable[[CollectSettings, datetime], Source | None]
# Loaded where the settings name one: a host of boards alone pays for none of them.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "dcgm": "dcgm.open_dcgm",
        "triton": "triton.open_triton",
        "rapl": "rapl.open_rapl",
        "redfish": "redfish.open_redfish",
        "ipmi": "commands.open_ipmi",
        "snmp": "commands.open_snmp",
        "modbus": "modbus.open_modbus",
        "amd": "amd.open_amd",
        "nvidia_smi": "nvidia_smi.open_nvidia_smi",
    }
)
# They name the boards themselves; every other kind reads one meter, which the settings name.
NAMES_BOARDS = frozenset({"dcgm", "triton", "amd", "nvidia_smi"})
RECORDINGS = frozenset({"nvidia_smi"})


def open_nvml(settings: CollectSettings, _now: datetime) -> Source | None:
    """The boards of this host; None when the settings say off."""
    if settings.nvml == "off":
        return None
    silence_us = silence_of(settings.interval_s)
    source = NvmlSource(silence_us=silence_us)
    try:
        source.open()
    except SourceError as error:
        if settings.nvml == "on" or not (settings.targets or settings.sources):
            raise
        log.info("%s; looked for again every %d s", error, RETRY_S)
        source.miss(error)
    return _recorded(
        settings, WatchedSource(source, settings.spool_dir / "nvml.json", silence_us=silence_us)
    )


def open_replay(settings: CollectSettings, now: datetime) -> Source | None:
    """The recording named in the settings, starting now unless a start is given."""
    if settings.replay_file is None:
        return None
    from collectors.sources.replay import ReplaySource

    start = settings.replay_start or now
    return ReplaySource(settings.replay_file, start=start, speed=settings.replay_speed)


def open_named(settings: CollectSettings, _now: datetime) -> Source | None:
    """The sources named one by one; None where there are none."""
    if not settings.sources:
        return None
    beside = SourcesBeside()
    for number, source_settings in enumerate(settings.sources):
        source = open_source(source_settings)
        if source_settings.kind not in RECORDINGS:
            path = settings.spool_dir / f"source-{number}.json"
            source = WatchedSource(source, path, silence_us=silence_of(source_settings.interval_s))
        beside.add(_recorded(settings, source), float(source_settings.interval_s))
    return beside


def open_source(settings: SourceSettings) -> Source:
    """One source; CollectSettingsError, SourceError where it is not said whole or not there."""
    named = KINDS.get(settings.kind)
    if named is None:
        raise CollectSettingsError(
            f"sources: no kind {settings.kind!r}; there are {', '.join(KINDS)}"
        )
    if settings.kind not in NAMES_BOARDS and not settings.meter:
        raise CollectSettingsError(f"source {settings.kind}: name its meter")
    module, _, opener = named.partition(".")
    source: Source = getattr(import_module(f"collectors.sources.{module}"), opener)(settings)
    return source


def _recorded(settings: CollectSettings, source: Source) -> Source:
    return source if settings.record_file is None else Recording(source, settings.record_file)


SOURCES: Mapping[str, SourceOpener] = MappingProxyType(
    {"nvml": open_nvml, "replay": open_replay, "sources": open_named}
)
