"""Whether a port can be listened on, and who has it when it cannot."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping

import psutil

from service.errors import TidemarkError


class PortError(TidemarkError):
    """A port cannot be had; the message says who has it and which setting names another."""


def require_free(host: str, port: int, variable: str) -> None:
    """Raise `PortError` when `port` of `host` cannot be listened on; `variable` is the setting that names it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortError(f"port {port} is taken{_holder(port)}: end that, or set {variable}") from None
        raise PortError(f"cannot listen on {host}:{port} ({variable}): {error.strerror}") from None


def require_apart(places: Mapping[str, tuple[str, int]]) -> None:
    """Raise `PortError` when two of the places that are to be listened on, by the settings of their ports, are one."""
    taken: dict[tuple[str, int], str] = {}
    for variable, place in places.items():
        if place in taken:
            raise PortError(f"{taken[place]} and {variable} are both {place[1]}: set one of them to another port")
        taken[place] = variable


def _holder(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if listens and connection.pid:
            try:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                break
    return " by another process"
