"""The places of hardware numbers; a new one is a file here and a line below."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType

from collectors.settings import CollectSettings
from collectors.sources.nvml import NvmlSource
from collectors.sources.replay import ReplaySource
from collectors.sources.source import Source, SourceSample

__all__ = ["SOURCES", "Source", "SourceSample", "open_nvml", "open_replay"]

SourceOpener = Callable[[CollectSettings, datetime], Source | None]


def open_nvml(settings: CollectSettings, _now: datetime) -> Source | None:
    """The boards of this host; None when the settings say off."""
    return None if settings.nvml == "off" else NvmlSource.open(settings.spool_dir / "epochs.json")


def open_replay(settings: CollectSettings, now: datetime) -> Source | None:
    """The recording named in the settings, starting now unless a start is given."""
    if settings.replay_file is None:
        return None
    start = settings.replay_start or now
    return ReplaySource(settings.replay_file, start=start, speed=settings.replay_speed)


SOURCES: Mapping[str, SourceOpener] = MappingProxyType({"nvml": open_nvml, "replay": open_replay})
