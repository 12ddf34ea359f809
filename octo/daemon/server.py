"""octod's life: startup, serve, drain."""

import asyncio
import contextlib
import logging
import os
import pwd
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from octo import __version__, wiring
from octo.daemon import http
from octo.daemon.access import Access
from octo.daemon.attach import Attach
from octo.daemon.command import Commands
from octo.daemon.director import Director
from octo.daemon.forwarding import Forwarder
from octo.daemon.importing import Importer
from octo.daemon.octo_door import OctoDoor
from octo.daemon.plugins import Plugins
from octo.daemon.push import Door, GitDoor, by_key, operator
from octo.daemon.rebuild import Rebuilder
from octo.daemon.routes import application
from octo.daemon.ssh import SshDoor
from octo.errors import OctoError, Unavailable
from octo.figures import sizes
from octo.pipeline.migrate import refuse_if_left
from octo.settings import Settings

log = logging.getLogger(__name__)

ROUND = 30.0  # seconds between two rounds of the reconciler
AGAIN = 2.0  # seconds between two tries to reach the store
LAST_WORK = 30.0  # seconds that a stop waits for what is under way
THREADS = 600  # at most, for calls of receivers and of the API: a push that waits in the queue holds one


class Server:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._octo = wiring.build(settings)
        self._access = Access(self._octo.catalog)
        self._commands = Commands(settings.api_socket, settings.command_uid)
        self._doors: list[Door] = []
        self._ended = asyncio.Event()
        self._over = threading.Event()

    async def run(self) -> None:
        """Start, serve until SIGTERM or SIGINT, stop. What is begun is ended or left to the journal."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="octod"))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        await self._reach_store()
        if self._ended.is_set():
            return
        await asyncio.to_thread(self._octo.open)
        await asyncio.to_thread(self._octo.reconciler.at_start)
        await asyncio.to_thread(self._octo.pruner.sweep)
        await asyncio.to_thread(self._access.learn)
        api = await self._open(loop)
        notify("READY=1")
        log.info("octo %s serves %s", __version__, self._settings.home)
        await self._ended.wait()
        notify("STOPPING=1")
        await asyncio.to_thread(self._close)
        api.close()

    async def _reach_store(self) -> None:
        """Wait for a Consul that is away when octod starts: the apps go on without octod, and ending helps nobody."""
        told = ""
        while not self._ended.is_set():
            try:
                await asyncio.to_thread(refuse_if_left, self._octo.store, self._settings.store)
                return
            except Unavailable as error:
                if told != error.message:
                    log.error("waiting: %s. %s", error.message, error.hint)
                told = error.message
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), AGAIN)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> asyncio.Server:
        octo, settings = self._octo, self._settings
        attach = Attach(octo.oneoff)
        director = self._director(loop)
        plugins, forwarder = Plugins(settings), Forwarder(settings, octo.ports.runtime, octo.catalog)
        extra = {"attach": attach, "logs": {}, "plugins": plugins, "forwarder": forwarder}
        extra |= {"rebuild": Rebuilder(octo.receiver, director.open), "import": Importer(octo, director)}
        app = application(octo, self._access, extra)
        api = await http.serve(app, settings.api_socket, mode=0o660, group=settings.command_uid, admit=lambda _: True)
        commands = OctoDoor(self._access, self._commands)
        git = GitDoor(
            octo.receiver,
            director.open,
            wiring.console_on,
            lambda actor, name: octo.create(name, actor.user),
        )
        self._commands.start()
        doors = Door({"git": git.serve, "octo": commands.command, "key": commands.key}, by_key(self._access))
        local = Door({"git": git.serve, "octo": commands.command}, operator)
        runs = Door({"attach": attach.serve, "plugin": plugins.serve}, operator)
        doors.listen(settings.door_socket, group=_group(settings.git_user))
        local.listen(settings.command_socket, group=0)
        runs.listen(settings.run / "attach.sock", group=settings.command_uid)
        self._ssh = SshDoor(
            doors,
            listen=settings.listen,
            port=settings.ssh_port,
            uid=settings.door_uid,
            folder=settings.home / "ssh",
            share=settings.share,
        )
        self._ssh.start()
        octo.ssh_listening = self._ssh.listening
        self._doors = [doors, local, runs]
        self._follow(forwarder)
        return api

    def _follow(self, forwarder: Forwarder) -> None:
        """The threads that look after what changes by itself, each until octod ends."""
        octo, wait = self._octo, self._over.wait
        lives: dict[str, Callable[[], object]] = {
            "rounds": self._rounds,
            "services": partial(octo.health.follow, self._route_anew, wait),
            "forwarding": partial(forwarder.follow, wait),
        }
        if self._settings.config_watch:
            lives["config"] = partial(octo.foreign.follow, wait)
        for name, life in lives.items():
            threading.Thread(target=life, daemon=True, name=name).start()

    def _director(self, loop: asyncio.AbstractEventLoop) -> Director:
        octo, settings = self._octo, self._settings
        return Director(
            octo.receiver,
            octo.ports.sandbox,
            octo.ports.blobs,
            loop,
            settings.run / "rx",
            wiring.render,
            sizes=sizes(settings),
            bundles=settings.repositories == "bundle",
        )

    def _route_anew(self) -> None:
        try:
            self._octo.routing.refresh()
        except Exception:
            log.exception("cannot route around what fails")

    def _rounds(self) -> None:
        while not self._over.wait(ROUND):
            try:
                self._octo.reconciler.again()
                self._octo.mend()
            except OctoError as error:
                log.error("cannot look after the apps: %s", error.message)
            except Exception:
                log.exception("a bug, in the reconciler")

    def _close(self) -> None:
        """No new callers; what is under way gets a while; then everything but nginx and the containers ends."""
        self._over.set()
        for door in self._doors:
            door.close()
        log.info("waiting up to %.0f s for what is under way", LAST_WORK)
        waiter = threading.Thread(target=self._octo.wait_until_idle, daemon=True)
        waiter.start()
        waiter.join(LAST_WORK)
        self._ssh.stop()  # only now: its sessions carry what the pushers read
        self._commands.stop()
        self._octo.ports.builder.close()
        self._octo.store.leave()
        for path in (self._settings.command_socket, self._settings.door_socket, self._settings.api_socket):
            path.unlink(missing_ok=True)
        log.info("octod ends; nginx and the apps go on")


def _group(user: str) -> int:
    """The group of the user that sshd runs gitreceive as; root's while OpenSSH is no door."""
    return pwd.getpwnam(user).pw_gid if user else 0


def notify(state: str) -> None:
    """Tell systemd, when it asked to be told. Source: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
