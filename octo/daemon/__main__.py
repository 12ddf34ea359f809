"""`octod`: serve in the foreground. `octod down`: end everything of this octo: daemon, nginx, containers.

`octod migrate consul`, `octod migrate sqlite`: move all that octo knows there, while no octod runs.
`octod stack`: make the default stack where there is none of its recipe; no octod need run.
"""

import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path

from octo.errors import NotFound, OctoError, Unavailable
from octo.settings import STORES, Settings, load


def main() -> int:
    words = sys.argv[1:]
    logging.basicConfig(
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", level=logging.INFO, stream=sys.stderr
    )
    try:
        if os.getuid() != 0:
            raise Unavailable("cannot run as an ordinary user: octod starts containers", hint="Use sudo.")
        settings = load(os.environ)
        if words == ["down"]:
            return down(settings)
        if words == ["stack"]:
            return stack(settings)
        if len(words) == 2 and words[0] == "migrate" and words[1] in STORES:
            return migrate(settings, words[1])
        if words:
            print("usage: octod [down | stack | migrate consul | migrate sqlite]", file=sys.stderr)
            return 2
        return serve(settings)
    except OctoError as error:
        print(f" ! {error.message}" + (f"\n       {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code


def serve(settings: Settings) -> int:
    from octo.daemon.server import Server

    settings.home.mkdir(mode=0o711, parents=True, exist_ok=True)
    with (settings.home / "octod.lock").open("a+") as lock:
        alone(lock.fileno(), settings.home)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()

        async def life() -> None:
            await Server(settings).run()

        asyncio.run(life())
    return 0


def alone(lock: int, home: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Unavailable(f'cannot start: another octod serves "{home}"', hint="Stop it, or set OCTO_HOME.") from None


def down(settings: Settings) -> int:
    """Stop octod if it runs, then what it leaves running on purpose. Data stay."""
    from octo import wiring

    file = settings.home / "octod.lock"
    if file.exists():
        with file.open("r+") as lock:
            pid = lock.read().strip()
            try:
                fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                print(f"-----> Stopping octod ({pid})")
                os.kill(int(pid), signal.SIGTERM)
                fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
            wiring.build(settings).shut_down(lambda text: print(f"-----> {text}"))
    print("=====> Stopped. The apps' data are kept; octod brings the apps back when it starts.")
    return 0


def migrate(settings: Settings, to: str) -> int:
    """May be cut off and run again; until it has ended, the old store is the one that counts."""
    from octo import wiring
    from octo.pipeline.migrate import move

    if not (settings.home / "octod.lock").exists():
        raise NotFound(f'cannot find an octo in "{settings.home}"', hint="Set OCTO_HOME to its folder.")
    with (settings.home / "octod.lock").open("a+") as lock:
        alone(lock.fileno(), settings.home)
        came = STORES[1 - STORES.index(to)]
        source, target = (wiring.memory(replace(settings, store=name))[0] for name in (came, to))
        try:
            moved = move(source, target, names=(came, to), tell=lambda text: print(f"-----> {text}", flush=True))
        finally:
            source.leave()
            target.leave()
    print(f'=====> Moved {moved.keys} keys, {moved.bytes / 1000:.1f} kB. Now set store = "{to}" and start octod.')
    return 0


def stack(settings: Settings) -> int:
    """Tell the steps; what programs print is shown when it fails. Removes no version: octod knows who needs them."""
    from octo import wiring
    from octo.engine import Engine

    last: deque[str] = deque(maxlen=25)

    def tell(data: bytes) -> None:
        text = data.decode("utf-8", "replace").rstrip()
        if text.startswith("-----> "):
            print(f"       {text.removeprefix('-----> ')}", flush=True)
        else:
            last.append(f"         {text}")

    stacks = wiring.stacks_of(settings, Engine(settings.engine), used=lambda id: True)
    try:
        version = stacks.ensure(settings.stack, tell)
    except OctoError:
        print("\n".join(last), file=sys.stderr)
        raise
    print(f"       {version.id}: {version.recipe['suite']}, {version.size // 1_000_000} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
