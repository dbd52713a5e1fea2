"""`python -m ingest.agent`: push this host's metrics to ingest until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import os
import signal

import aiohttp

from ingest.agent.backlog import Backlog
from ingest.agent.collect import Collector, collect
from ingest.agent.deliver import Delivery
from ingest.agent.inputs import inputs
from ingest.agent.instruments import Instruments
from ingest.agent.points import Input
from ingest.agent.services import Services
from ingest.agent.settings import AgentSettings
from service import logs, settings

PROG = "python -m ingest.agent"

log = logs.get("ingest.agent")


def main() -> None:
    """Read the settings and run until told to stop."""
    chosen = settings.read(AgentSettings, PROG)
    logs.configure(chosen.log_level, chosen.log_format)
    asyncio.run(run(chosen))


async def run(chosen: AgentSettings) -> None:
    """Collect and deliver until SIGTERM or SIGINT, then deliver what is held if that goes quickly."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    instruments = Instruments()
    backlog = Backlog(chosen.buffer_bytes, instruments)
    collector = Collector(chosen_inputs(chosen), chosen.interval_seconds / 2, instruments)
    timeout = aiohttp.ClientTimeout(total=chosen.timeout_seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        delivery = Delivery(session, backlog, chosen, instruments)
        async with asyncio.TaskGroup() as tasks:
            both = [
                tasks.create_task(collect(collector, backlog, chosen, instruments)),
                tasks.create_task(delivery.run()),
            ]
            log.info("started", url=chosen.shown_url, interval_seconds=chosen.interval_seconds, host=chosen.hostname)
            await stop.wait()
            for task in both:
                task.cancel()
        await delivery.finish()
    log.info("stopped", metrics_written=instruments.metrics_written)
    if collector.is_waiting:
        # A thread that hangs in the kernel, on a mount that went away, would keep the process from ending.
        os._exit(0)


def chosen_inputs(chosen: AgentSettings) -> dict[str, Input]:
    """This host's inputs, and that of Tidemark's services where some are named."""
    found = inputs()
    if chosen.instruments_urls:
        found["services"] = Services(
            chosen.instruments_urls, chosen.instruments_max_bytes, chosen.instruments_timeout_seconds
        )
    return found


if __name__ == "__main__":
    main()
