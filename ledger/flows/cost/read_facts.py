"""Reads what happened in windows: the work that ran, the energy that meters counted, and the
tokens that engines did."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from ledger.domain.cost.factory import Factory
from ledger.domain.cost.served import WindowFacts
from ledger.domain.cost.stepped import stepped_between
from ledger.domain.cost.unclaimed import COUNTED, deltas_in, growth_of
from ledger.domain.energy.calibration import Calibration
from ledger.domain.energy.counter_course import AROUND, NEAR, EnergyReading, runs_on
from ledger.domain.energy.even_course import ReadingColumns, even_boards
from ledger.domain.energy.gpu_spans import BoardSpans, even_spans, spans_by_window
from ledger.domain.energy.module_scope import module_boards
from ledger.domain.metering.engine_counter import CounterDelta
from ledger.domain.metering.times import micros
from ledger.domain.period import WINDOW, window_of
from ledger.store.cost.work import read_work
from ledger.store.energy import meter
from ledger.store.queries import Connection
from ledger.store.within import Within


async def read_facts(
    connection: Connection,
    windows: Sequence[datetime],
    factory: Factory,
    gpus: Sequence[str],
    batch_seq: int,
    engines: Collection[int] | None = None,
) -> dict[datetime, WindowFacts]:
    """What happened in each of some windows, in order, as known at a cut-off, at all engine keys or
    some; in one snapshot."""
    work = await read_work(connection, windows, batch_seq, engines)
    columns = await meter.read_columns_of(
        connection, gpu_uuids=gpus, **_reaching(windows, NEAR, batch_seq)
    )
    metered = await _read_spans(connection, windows, factory, gpus, batch_seq, columns)
    modules = _modules(windows, gpus, columns)
    counted = await _read_counted(connection, windows, factory, batch_seq)
    return {
        window: WindowFacts(
            work.attempts_in(window),
            work.keys,
            metered[window],
            {name: grown for name, deltas in counted[window] if (grown := growth_of(deltas))},
            modules[window],
            {
                name: stepped
                for name, deltas in counted[window]
                if (stepped := stepped_between(deltas)) is not None
            },
        )
        for window in windows
    }


async def _read_counted(
    connection: Connection, windows: Sequence[datetime], factory: Factory, batch_seq: int
) -> Mapping[datetime, Sequence[tuple[str, list[CounterDelta]]]]:
    """What the counters of each engine of the entity's deployments grew by in each window."""
    own = [d for d in factory.deployments if d.entity_id == factory.entity.entity_id]
    samples = await meter.list_counters(
        connection,
        engine_instances=sorted({name for d in own for name in d.engine_instances}),
        metrics=COUNTED,
        **_reaching(windows, timedelta(0), batch_seq),
    )
    counted: dict[datetime, list[tuple[str, list[CounterDelta]]]] = defaultdict(list)
    for name, of_engine in samples.items():
        moments = [sample.scraped_at for sample in of_engine]
        for window in windows:
            first, last = bisect_left(moments, window), bisect_right(moments, window + WINDOW)
            deltas = deltas_in(window_of(window), of_engine[first:last])
            if deltas:
                counted[window].append((name, deltas))
    return counted


async def _read_spans(
    connection: Connection,
    windows: Sequence[datetime],
    factory: Factory,
    gpus: Sequence[str],
    batch_seq: int,
    columns: ReadingColumns,
) -> dict[datetime, dict[str, BoardSpans]]:
    even = {gpus[board - 1]: board_spans for board, board_spans in even_boards(columns).items()}
    uneven = [gpu for gpu in gpus if gpu not in even]
    near = await _readings(connection, windows, uneven, NEAR, batch_seq)
    odd = [gpu for gpu, of_gpu in near.items() if not runs_on(of_gpu)]
    around = await _readings(connection, windows, odd, AROUND, batch_seq)
    true: dict[str, list[Calibration]] = defaultdict(list)
    for each in factory.meters:
        true[each.meter].append(each.calibration)
    simple = {gpu: even_spans(board_spans, true[gpu]) for gpu, board_spans in even.items()}
    spans: dict[datetime, dict[str, BoardSpans]] = {window: {**simple} for window in windows}
    for gpu, of_gpu in near.items():
        by_window = spans_by_window(of_gpu, around.get(gpu), windows, true[gpu])
        for window, gpu_spans in by_window.items():
            spans[window][gpu] = gpu_spans
    return spans


def _modules(
    windows: Sequence[datetime], gpus: Sequence[str], columns: ReadingColumns
) -> dict[datetime, frozenset[str]]:
    """The GPUs whose counters cover CPU and memory too, in each window."""
    modules = module_boards(columns, [micros(window + WINDOW) for window in windows])
    named = (frozenset(gpus[board - 1] for board in boards) for boards in modules)
    return dict(zip(windows, named, strict=True))


async def _readings(
    connection: Connection,
    windows: Sequence[datetime],
    gpus: Sequence[str],
    reach: timedelta,
    batch_seq: int,
) -> dict[str, list[EnergyReading]]:
    if not gpus:
        return {}
    return await meter.find_energy_readings(
        connection, gpu_uuids=gpus, **_reaching(windows, reach, batch_seq)
    )


def _reaching(windows: Sequence[datetime], reach: timedelta, batch_seq: int) -> Within:
    return {
        "since": windows[0] - reach,
        "until": windows[-1] + WINDOW + reach,
        "batch_seq": batch_seq,
    }
