"""Workers whose clock is set back and forth while they store."""

import asyncio
from datetime import UTC, datetime, timedelta

from tests.torture.scene import Scene

STEPS = tuple(
    timedelta(**by)
    for by in ({"days": -60}, {"hours": -7}, {"seconds": -200}, {"seconds": 200}, {"days": 400})
)
PAUSE_S, NEAR = 0.2, timedelta(seconds=5)
STORED_THEN = """
SELECT count(*) FROM receipt WHERE transport = 'kafka' AND received_at BETWEEN $1 AND $2
"""


async def step_clock(scene: Scene) -> list[str]:
    """The clock of all workers jumps back and forth, and is right again in the end."""
    scene.stepped = True
    began = datetime.now(UTC)
    scene.draw.shuffle(steps := list(STEPS))
    scene.workers.step_clock(steps[0])
    scene.release()
    for by in steps:
        scene.workers.step_clock(by)
        await asyncio.sleep(PAUSE_S)
    await scene.settled()
    scene.workers.step_clock(timedelta())
    ended, met = datetime.now(UTC), []
    for by in steps:
        count = await scene.value(STORED_THEN, began + by - NEAR, ended + by + NEAR)
        met += [f"{count} records by a clock wrong by {by.total_seconds():+.0f} s"] * bool(count)
    scene.note(met, "; ".join(met) or "nothing was stored meanwhile")
    return []
