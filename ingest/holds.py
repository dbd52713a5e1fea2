"""How long the event loop is held: for so long nobody else is served, health and all."""

from __future__ import annotations

import asyncio
import time

from ingest.instruments import Instruments

LOOK_SECONDS = 0.01


async def watch(instruments: Instruments) -> None:
    """Look again and again, until cancelled.

    A look that comes late says that the loop had other work. How late, or how much of the processor the loop's thread
    had meanwhile if that is less, is how long the loop was held: that others have the processor is not its doing.
    """
    while True:
        began, worked = time.monotonic(), time.thread_time()
        await asyncio.sleep(LOOK_SECONDS)
        late = time.monotonic() - began - LOOK_SECONDS
        instruments.process.loop_held.observe(max(0.0, min(late, time.thread_time() - worked)))
