"""Where octo's bench finds the stacks and the engines, and keeps the engine for Dockerfiles that its octods share."""

import os
import shutil
from pathlib import Path

from octo.buildengine.engine import BuildEngine
from octo.net.buildnet import BuildNetwork
from octo.settings import CHECKOUT, Settings
from octo.specs import GB

STACKS = Path(os.environ.get("OCTO_STACKS") or CHECKOUT / ".octo" / "stacks")
# Of a fixed name, so that what a bench that was killed left is found by the next one.
ENGINE_FOLDER = STACKS.parent / "bench-engine"
# Of the octods' builds, one each; apart from those of the stories and of an octo in use.
NETWORKS = ("10.218.0.0/20", "10.218.16.0/20", "10.218.32.0/20", "10.218.48.0/20")


def engine_socket() -> Path:
    return Path(os.environ.get("OCTO_ENGINE") or Settings.engine)


def end_build_engine(instance: str) -> None:
    """Stop the engine, if it runs still, and remove all of it. instance: of the octod that started it last."""
    if not ENGINE_FOLDER.exists():
        return
    network = BuildNetwork(instance, NETWORKS[0], Settings.build_ports)
    syscalls = CHECKOUT / "lxc" / "syscalls.toml"
    left = BuildEngine(ENGINE_FOLDER, instance=instance, network=network, disk=GB, idle=0, syscalls=syscalls)
    left.adopt()
    left.clear()
    shutil.rmtree(ENGINE_FOLDER)
