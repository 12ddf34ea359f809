"""Shared by the tests that need a real Docker engine: images made on the spot, and a look at what is left."""

import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

from octo.adapters.runtime_docker import DockerRuntime
from octo.engine import Engine
from octo.ports import ContainerSpec

STACK = "octo/stack:latest"
ENGINE = Engine(Path("/var/run/docker.sock"))
APP = "a" * 12

# Workers share one engine: each has names and addresses of its own.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
INSTANCE = f"octo-t{WORKER}-rt"
SUBNET = IPv4Network(f"10.214.{WORKER % 4 * 64}.0/18")
LINKS = f"10.222.{WORKER % 64 * 4}.0/22"
A, B = (str(SUBNET[64]), str(SUBNET[65]))  # the first two that octo may allot
FOREVER = "trap 'exit 0' TERM; echo up; sleep 1000 & wait"


def listen(address: str, port: int, family: str = "AF_INET") -> str:
    """A command that listens, says so and stays."""
    code = f"import socket,signal; s=socket.create_server(('{address}', {port}), family=socket.{family})"
    return f"exec python3 -c \"{code}; print('up', flush=True); signal.pause()\""


def tar(files: Mapping[str, bytes | str]) -> bytes:
    """A tar of files; text as value makes a symbolic link to it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


@contextmanager
def image(ref: str, dockerfile: str) -> Iterator[str]:
    """An image from the stack and these lines, for the body of a `with`."""
    need_stack()
    stream = ENGINE.upload("build", query={"t": ref, "rm": True, "forcerm": True})
    stream.send([tar({"Dockerfile": f"FROM {STACK}\nENV OCTO_TEST={ref}\n{dockerfile}\n".encode()})])
    stream.answer()
    said = list(stream.lines())
    stream.close()
    assert not [m for m in said if "error" in m], said
    try:
        yield ref
    finally:
        ENGINE.delete("images", ref, query={"force": True})


def need_stack() -> None:
    assert ENGINE.find("images", STACK, "json"), f"there is no image {STACK}: run ./setup stack"


def left_over(instance: str) -> list[str]:
    """Names of the containers and networks of an octo."""
    query = {"all": True, "filters": {"label": [f"octo.instance={instance}"]}}
    containers = [c["Names"][0] for c in ENGINE.get("containers", "json", query=query)]
    networks = [n["Name"] for n in ENGINE.get("networks") if n["Name"].startswith(instance)]
    return containers + networks


def spec(
    name: str, address: str | None, *, command: str | None = FOREVER, image: str = STACK, app: str = APP,
    env: Mapping[str, str] | None = None, memory: int | None = None, tty: bool = False,
) -> ContainerSpec:  # fmt: skip
    return ContainerSpec(
        name=name,
        image=image,
        app=app,
        release=3,
        process="web",
        index=2,
        address=address,
        env=env or {},
        command=command,
        memory=memory,
        tty=tty,
    )


def until(runtime: DockerRuntime, name: str, word: bytes) -> None:
    """Wait until the container prints the word, or ends."""
    lines = runtime.logs(name, tail=100, follow=True)
    for line in lines:
        if word in line:
            break
    lines.close()


@contextmanager
def real_runtime() -> Iterator[DockerRuntime]:
    """A Runtime with its network, for the body of a `with`; nothing of it may be left."""
    need_stack()
    docker = DockerRuntime(ENGINE, instance=INSTANCE, subnet=str(SUBNET), link_network=LINKS)
    docker.prepare()
    docker.prepare()
    try:
        yield docker
    finally:
        docker.clear()
    assert not left_over(INSTANCE)
