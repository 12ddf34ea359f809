"""HTTP on Unix sockets: uvicorn's protocol, and who is at the other end."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState


@dataclass(frozen=True)
class Peer:
    pid: int
    uid: int


async def serve(app: Any, path: Path, *, mode: int, group: int = 0, admit: Callable[[Peer], bool]) -> asyncio.Server:
    """Serve the ASGI app; `scope["state"]["peer"]` is the Peer. Who is not admitted is hung up on."""
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()

    def protocol() -> asyncio.Protocol:
        made: Any = config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]
        connected = made.connection_made

        def connection_made(transport: asyncio.BaseTransport) -> None:
            peer = peer_of(transport.get_extra_info("socket"))
            made.app_state = {"peer": peer}
            if admit(peer):
                connected(transport)
            else:
                made.connection_lost = lambda _: None
                transport.close()

        made.connection_made = connection_made
        protocol: asyncio.Protocol = made
        return protocol

    path.unlink(missing_ok=True)
    server = await asyncio.get_running_loop().create_unix_server(protocol, str(path))
    os.chown(path, 0, group)
    path.chmod(mode)
    return server


def peer_of(sock: socket.socket) -> Peer:
    """Who is at the other end of a Unix socket. Source: unix(7), SO_PEERCRED."""
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid, uid)
