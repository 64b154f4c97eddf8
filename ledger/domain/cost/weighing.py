"""Loops over attempts, compiled: what each weighs, and what of it lies in which slot of a window.

Invariant: whole numbers, exact but for what is cut off in division. What an attempt weighs is told
in so few bits that no sum of them outgrows 64.
"""

from typing import NamedTuple

import numpy as np

from ledger.domain.arrays import Bools, Ints, Words
from ledger.domain.compiled import compiled
from ledger.domain.cost.sweep import SHARE_BITS, Sweep, beside_at, shared_at
from ledger.domain.metering.spread import INPUT_METERS, WINDOW_US
from ledger.domain.wide import (
    bit_length,
    part_of,
    plus,
    product,
    scaled,
    shifted,
    thousandth,
    times,
)

# Rows of what is handed in of attempts; times are microseconds of the window.
RAN = ("engine", "start", "read", "wrote", "end", "sign", *INPUT_METERS, "output", "context")
_ENGINE, _START, _READ, _WROTE, _END, _SIGN, _UNCACHED, _READ_CACHE, _WRITE_CACHE, _OUTPUT = range(
    10
)
_CONTEXT = 10
# Rows of what an attempt weighs: what it asked and wrote, the steps beyond the one that read its
# prompt, that one, and of what it asked what it read from a cache and wrote to one.
_ASKED, _WRITTEN, _STEPPED, _BEGUN, _FROM_CACHE, _TO_CACHE = range(6)
_LEGS = 6
# Sums of a slot: what all weighs, what usage does, and of that what was cached and answered.
TOTAL, USED, CACHE_READ, CACHE_WRITE, ANSWERED = range(5)
_SUMS = 5
# What an owner weighs of a slot: the sums from USED on.
_WEIGHED = 4
# All of a slot.
WHOLE = 1 << 62
# What one attempt weighs of a leg, and how many may, so that four legs of all stay below WHOLE.
_WEIGHT_BITS, _MANY_BITS = 44, 16
_U64 = np.uint64
# As many steps as can be counted.
_STEPS_MOST = 1 << 62
_HALF_BITS = 32
_HALF = (1 << _HALF_BITS) - 1


class Cells(NamedTuple):
    """What each owner weighs of each slot in which it ran, out of WHOLE, by owner and slot; and the
    sums of each slot."""

    owner: Ints
    slot: Ints
    part: Ints
    sums: Ints


class _Work(NamedTuple):
    """Attempts as rows of RAN, what they weigh leg by leg, and how many wrote at each moment."""

    ran: Ints
    legs: Ints
    writing: Sweep


def weigh_cells(
    ran: Ints,
    owners: Ints,
    used: Bools,
    weights: Ints,
    slot_us: int,
    writing: Sweep,
    chunk: int,
) -> Cells:
    """Cells of attempts in the order of their numbered owners; `used` says whose is of usage.
    `weights` are what a token of each meter weighs, one of context, and a step, which reads `chunk`
    tokens of a prompt at most, or all."""
    work = _Work(ran, _legs(ran, weights, chunk), writing)
    cells = Cells(*_cells(work, owners, used, slot_us))
    _share(cells)
    return cells


@compiled
def begun_of(ran: Ints, chunk: int) -> Ints:
    """How many steps read the prompt of each: one for each `chunk` of its tokens, or one in all.
    Without a first token it writes all along: all its steps are such."""
    begun = np.zeros(ran.shape[1], np.int64)
    for n in range(ran.shape[1]):
        asks = ran[_UNCACHED, n] > 0 or ran[_READ_CACHE, n] > 0 or ran[_WRITE_CACHE, n] > 0
        if asks and ran[_READ, n] - ran[_WROTE, n] <= 1:
            begun[n] = _chunks(ran[_UNCACHED, n], ran[_WRITE_CACHE, n], chunk) if chunk else 1
    return begun


@compiled
def _chunks(uncached: int, to_cache: int, chunk: int) -> int:
    """In how many steps so many tokens are read: one at least, and no more than can be counted."""
    asked, each = _U64(uncached) + _U64(to_cache), _U64(chunk)
    steps = asked // each + min(asked % each, _U64(1))
    return int(max(min(steps, _U64(_STEPS_MOST)), _U64(1)))


@compiled
def _legs(ran: Ints, weights: Ints, chunk: int) -> Ints:
    """What each attempt weighs in all, leg by leg; coarser where one of them weighs very much."""
    count, begun = ran.shape[1], begun_of(ran, chunk)
    high, low = np.empty((_LEGS, count), np.uint64), np.empty((_LEGS, count), np.uint64)
    most = 0
    for n in range(count):
        output, step = _U64(ran[_OUTPUT, n]), _U64(weights[5])
        from_cache = product(_U64(ran[_READ_CACHE, n]), _U64(weights[1]))
        to_cache = product(_U64(ran[_WRITE_CACHE, n]), _U64(weights[2]))
        asked = product(_U64(ran[_UNCACHED, n]), _U64(weights[0]))
        looked = times(product(output, _U64(weights[4])), _U64(ran[_CONTEXT, n]))
        legs = (
            plus(asked, plus(from_cache, to_cache)),
            plus(product(output, _U64(weights[3])), thousandth(looked)),
            product(_U64(max(ran[_OUTPUT, n] - min(begun[n], 1), 0)), step),
            product(_U64(begun[n]), step),
            from_cache,
            to_cache,
        )
        for leg in range(_LEGS):
            high[leg, n], low[leg, n] = legs[leg]
            most = max(most, bit_length(legs[leg]))
    crowd = np.uint64(count)
    fewer = max(bit_length((_U64(0), crowd)) - _MANY_BITS, 0)
    bits = max(most - _WEIGHT_BITS + fewer, 0)
    coarse = np.empty((_LEGS, count), np.int64)
    for leg in range(_LEGS):
        for n in range(count):
            coarse[leg, n] = shifted((high[leg, n], low[leg, n]), bits)
    return coarse


@compiled
def number_keys(named: Ints, beside: int) -> tuple[Ints, Ints]:
    """What is named in order, once each, and one key beside them; and the number of each."""
    keys, numbers = np.empty(named.size + 1, np.int64), np.empty(named.size, np.int64)
    count, there = 0, False
    for n in range(named.size):
        if not there and named[n] >= beside:
            keys[count] = beside
            count, there = count + 1, True
        if count == 0 or keys[count - 1] != named[n]:
            keys[count] = named[n]
            count += 1
        numbers[n] = count - 1
    if not there:
        keys[count] = beside
        count += 1
    return keys[:count].copy(), numbers


@compiled
def _cells(work: _Work, owners: Ints, used: Bools, slot_us: int) -> tuple[Ints, Ints, Ints, Ints]:
    """What each owner weighs of each slot, one after the other, and the sums of slots."""
    slots, slots_run = WINDOW_US // slot_us, _slots_run(work.ran, slot_us)
    size = int((slots_run[1] - slots_run[0]).sum()) + owners.size
    cells, sums = np.empty((3, size), np.int64), np.zeros((_SUMS, slots), np.int64)
    weighed = np.zeros((_WEIGHED, slots), np.int64)
    count, lowest, highest = 0, slots, -1
    for n in range(owners.size):
        first, last = slots_run[0, n], slots_run[1, n]
        if first <= last:
            _weigh_one(work, n, slot_us, first, weighed)
            lowest, highest = min(lowest, first), max(highest, last)
        if n + 1 == owners.size or owners[n + 1] != owners[n]:
            for at in range(lowest, highest + 1):
                if weighed[0, at] > 0:
                    cells[0, count], cells[1, count], cells[2, count] = (
                        owners[n],
                        at,
                        weighed[0, at],
                    )
                    count += 1
                    _add(sums, weighed, at, used[owners[n]])
                for each in range(_WEIGHED):
                    weighed[each, at] = 0
            lowest, highest = slots, -1
    return cells[0, :count].copy(), cells[1, :count].copy(), cells[2, :count].copy(), sums


@compiled
def _add(sums: Ints, weighed: Ints, at: int, of_usage: bool) -> None:
    sums[TOTAL, at] += weighed[0, at]
    if of_usage:
        for each in range(_WEIGHED):
            sums[USED + each, at] += weighed[each, at]


@compiled
def _share(cells: Cells) -> None:
    """What each weighs of its slot, out of WHOLE, in place of what it weighs."""
    for n in range(cells.part.size):
        total = _U64(cells.sums[TOTAL, cells.slot[n]])
        share, _ = part_of(_U64(WHOLE), (_U64(0), _U64(cells.part[n])), (_U64(0), total))
        cells.part[n] = share


@compiled
def parts_of_slots(weighed: Ints, totals: Ints) -> Ints:
    """What rows of what is weighed are of all of each slot, out of WHOLE; below zero nothing."""
    parts = np.zeros(weighed.shape, np.int64)
    for row in range(weighed.shape[0]):
        for at in range(totals.size):
            if weighed[row, at] > 0:
                whole = (_U64(0), _U64(totals[at]))
                share, _ = part_of(_U64(WHOLE), (_U64(0), _U64(weighed[row, at])), whole)
                parts[row, at] = share
    return parts


@compiled
def _slots_run(ran: Ints, slot_us: int) -> Ints:
    """The first and the last slot in which each attempt runs; none where the last is before it."""
    slots_run = np.empty((2, ran.shape[1]), np.int64)
    for n in range(ran.shape[1]):
        start, end = _clip(ran[_START, n], 0, WINDOW_US), _clip(ran[_END, n], 0, WINDOW_US)
        slots_run[0, n] = start // slot_us
        slots_run[1, n] = max((end - 1) // slot_us, slots_run[0, n] - 1)
    return slots_run


@compiled
def _clip(moment: int, since: int, until: int) -> int:
    return min(max(moment, since), until)


@compiled
def _weigh_one(work: _Work, n: int, slot_us: int, first: int, weighed: Ints) -> None:
    """Add what an attempt weighs in each slot, and what of it is of a cache and answered."""
    ran, legs = work.ran, work.legs
    start, end = _clip(ran[_START, n], 0, WINDOW_US), _clip(ran[_END, n], 0, WINDOW_US)
    sign, asked = ran[_SIGN, n], legs[_ASKED, n]
    asked_before, wrote_before = _asked_upto(ran, legs, n, start), _wrote_upto(ran, legs, n, start)
    since, slot = start, first
    while since < end:
        until = min((slot + 1) * slot_us, end)
        asked_upto, wrote_upto = _asked_upto(ran, legs, n, until), _wrote_upto(ran, legs, n, until)
        asking, answering = asked_upto - asked_before, wrote_upto - wrote_before
        # Most attempts have no steps, and to hand all of this over costs more than what is asked.
        if legs[_BEGUN, n]:
            asking += _steps_to_read(work, n, since, until)
        if legs[_STEPPED, n]:
            answering += _steps_to_write(work, n, since, until)
        weighed[0, slot] += (asking + answering) * sign
        if asked > 0:
            weighed[1, slot] += _of_asked(asking * sign, legs[_FROM_CACHE, n], asked)
            weighed[2, slot] += _of_asked(asking * sign, legs[_TO_CACHE, n], asked)
        weighed[3, slot] += answering * sign
        since, asked_before, wrote_before = until, asked_upto, wrote_upto
        slot += 1


@compiled
def _asked_upto(ran: Ints, legs: Ints, n: int, moment: int) -> int:
    """What is asked evenly from its start to its first token, up to a moment."""
    start, read = ran[_START, n], ran[_READ, n]
    if moment <= start or moment >= read:
        return legs[_ASKED, n] if moment > start else 0
    return scaled(legs[_ASKED, n], moment - start, read - start)


@compiled
def _wrote_upto(ran: Ints, legs: Ints, n: int, moment: int) -> int:
    """What is written evenly from the first token to the end, up to a moment."""
    wrote, end = ran[_WROTE, n], ran[_END, n]
    if moment <= wrote or moment >= end:
        return legs[_WRITTEN, n] if moment > wrote else 0
    return scaled(legs[_WRITTEN, n], moment - wrote, end - wrote)


@compiled
def _steps_to_read(work: _Work, n: int, since: int, until: int) -> int:
    """The part of the step that read its prompt, which it shares with all who write meanwhile."""
    ran, legs, writing = work
    engine, read = ran[_ENGINE, n], _clip(ran[_READ, n], 0, WINDOW_US)
    share = beside_at(writing, engine, min(until, read))
    share -= beside_at(writing, engine, min(since, read))
    return scaled(legs[_BEGUN, n], share, (ran[_READ, n] - ran[_START, n]) << SHARE_BITS)


@compiled
def _steps_to_write(work: _Work, n: int, since: int, until: int) -> int:
    """The part of the steps in which it wrote, which it shares with all others who do."""
    ran, legs, writing = work
    engine, wrote = ran[_ENGINE, n], _clip(ran[_WROTE, n], 0, WINDOW_US)
    share = shared_at(writing, engine, max(until, wrote))
    share -= shared_at(writing, engine, max(since, wrote))
    return scaled(legs[_STEPPED, n], share, (ran[_END, n] - ran[_WROTE, n]) << SHARE_BITS)


@compiled
def _of_asked(asking: int, part: int, asked: int) -> int:
    """Of what is asked in a slot, what a part of the whole takes; rounded down, below zero too."""
    if asking == 0 or part == 0:
        return 0
    if asking == asked:
        return part
    if asking >= 0:
        return scaled(asking, part, asked)
    taken_back = scaled(-asking, part, asked)
    return -taken_back - (taken_back * asked != -asking * part)


@compiled
def count_tokens(ran: Ints, owners: Ints, used: Bools) -> tuple[Ints, Ints]:
    """Tokens of usage in the window, by meter, and all tokens of each owner; in two halves of 32
    bits each, of which the low one may hold more."""
    meters, whole = np.zeros((2, 4), np.int64), np.zeros((2, used.size), np.int64)
    for n in range(ran.shape[1]):
        sign, owner = ran[_SIGN, n], owners[n]
        for meter in range(4):
            tokens = ran[_UNCACHED + meter, n]
            whole[0, owner] += sign * (tokens >> _HALF_BITS)
            whole[1, owner] += sign * (tokens & _HALF)
            if used[owner] and tokens:
                worked = _worked(ran, n, meter, tokens)
                meters[0, meter] += sign * (worked >> _HALF_BITS)
                meters[1, meter] += sign * (worked & _HALF)
    return meters, whole


@compiled
def _worked(ran: Ints, n: int, meter: int, tokens: int) -> int:
    """How many of some tokens lie in the window."""
    answered = _UNCACHED + meter == _OUTPUT
    since, until = ran[_WROTE if answered else _START, n], ran[_END if answered else _READ, n]
    if since >= 0 and until <= WINDOW_US:
        return int(tokens)
    whole, size = (_U64(0), _U64(until - since)), _U64(tokens)
    before, _ = part_of(size, (_U64(0), _U64(_clip(0, since, until) - since)), whole)
    upto, _ = part_of(size, (_U64(0), _U64(_clip(WINDOW_US, since, until) - since)), whole)
    # Words and signed numbers together would be floats.
    return int(np.int64(upto - before))


@compiled
def hold(owner: Ints, slot: Ints, part: Ints, pools: Ints, owners: int) -> tuple[Words, Words]:
    """What each owner weighs of slots that hold so much, in two words."""
    high, low = np.zeros(owners, np.uint64), np.zeros(owners, np.uint64)
    for n in range(owner.size):
        held = product(_U64(part[n]), _U64(pools[slot[n]]))
        high[owner[n]], low[owner[n]] = plus((high[owner[n]], low[owner[n]]), held)
    return high, low


@compiled
def spread_steps(
    ran: Ints, steps: Ints, leg: tuple[int, int], edges: Ints, writing: Sweep, beside: bool
) -> Ints:
    """Steps between each two edges, spread over a time by shares of it: of one who wrote all along,
    or of one `beside` those who did."""
    spread, last = np.zeros(edges.size - 1, np.int64), edges.size - 2
    for n in range(ran.shape[1]):
        since = _clip(ran[leg[0], n], edges[0], edges[-1])
        until = _clip(ran[leg[1], n], edges[0], edges[-1])
        first = _clip(int(np.searchsorted(edges, since, side="right")) - 1, 0, last)
        final = _clip(int(np.searchsorted(edges, until, side="left")) - 1, 0, last)
        length = (ran[leg[1], n] - ran[leg[0], n]) << SHARE_BITS
        for cell in range(first, final + 1):
            begin, end = _clip(edges[cell], since, until), _clip(edges[cell + 1], since, until)
            if beside:
                share = beside_at(writing, ran[_ENGINE, n], end)
                share -= beside_at(writing, ran[_ENGINE, n], begin)
            else:
                share = shared_at(writing, ran[_ENGINE, n], end)
                share -= shared_at(writing, ran[_ENGINE, n], begin)
            spread[cell] += _of_asked(ran[_SIGN, n] * steps[n], share, length)
    for cell in range(spread.size):
        spread[cell] = max(spread[cell], 0)
    return spread
