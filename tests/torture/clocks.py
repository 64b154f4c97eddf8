"""Workers whose clock is set back and forth while they store."""

from datetime import UTC, datetime, timedelta

from tests.torture.scene import Scene

STEPS = tuple(
    timedelta(**by)
    for by in ({"days": -60}, {"hours": -7}, {"seconds": -90}, {"seconds": 90}, {"days": 400})
)
NEAR = timedelta(hours=1)
STORED_THEN = """
SELECT count(*) FROM receipt WHERE transport = 'kafka' AND received_at BETWEEN $1 AND $2
"""


async def step_clock(scene: Scene) -> list[str]:
    """The clock of all workers jumps back and forth, and is right again in the end."""
    scene.stepped = True
    scene.draw.shuffle(steps := list(STEPS))
    met = []
    scene.release()
    for by in steps[:3]:
        before = await scene.stored()
        scene.workers.step_clock(by)
        if await scene.stored_more_than(before, patience_s=3):
            then = datetime.now(UTC) + by
            count = await scene.value(STORED_THEN, then - NEAR, then + NEAR)
            met += [f"{count} records by a clock wrong by {by}"] if count else []
    scene.workers.step_clock(timedelta())
    scene.note(met, "; ".join(met) or "nothing was stored meanwhile")
    return []
