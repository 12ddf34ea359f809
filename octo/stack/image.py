"""The images of the stacks in the engine: a tree in, a tree out, and their tags octo/stack:..."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from octo import process
from octo.engine import Engine
from octo.errors import BuildFailed

REPOSITORY = "octo/stack"
PIECE = 1024 * 1024  # bytes
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
CHANGES = (
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8",
    # pip and node bring lists of authorities of their own, and would not see those that the stack was told to trust.
    f"ENV SSL_CERT_FILE={BUNDLE} PIP_CERT={BUNDLE} REQUESTS_CA_BUNDLE={BUNDLE} NODE_EXTRA_CA_CERTS={BUNDLE}",
    'CMD ["bash"]',
)


def named(tag: str) -> str:
    return f"{REPOSITORY}:{tag}"


class StackImages:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def labels(self, tag: str) -> Mapping[str, str] | None:
        """None when there is no such image."""
        found = self._engine.find("images", named(tag), "json")
        return None if found is None else found["Config"].get("Labels") or {}

    def put(self, root: Path, tag: str, labels: Mapping[str, str]) -> None:
        """Make an image of the tree. labels: without spaces and quotes. Raises BuildFailed."""
        words = " ".join(f"{k}={v}" for k, v in labels.items())
        changes = "\n".join([*CHANGES, f"LABEL {words}"])
        query = {"fromSrc": "-", "repo": REPOSITORY, "tag": tag, "changes": changes}
        argv = ["tar", "-C", str(root), "--numeric-owner", "--one-file-system", "--sort=name", "-c", "."]
        with _Piped(argv, into=False) as tar:
            stream = self._engine.upload("images", "create", query=query)
            try:
                stream.send(_pieces(tar.ours))
                stream.answer()
                failed = [str(line["error"]) for line in stream.lines() if "error" in line]
            except OSError as error:
                failed = [error.strerror or "it hung up"]
            finally:
                stream.close()
        if failed or tar.code:
            self.drop(tag)  # half a tree makes an image too
            why = failed[0] if failed else f"tar ended with {tar.code}"
            raise BuildFailed(f"cannot import the stack into the engine: {why}", hint="Look into the engine's log.")

    def take(self, tag: str, root: Path) -> None:
        """Unpack the image's tree into the folder. Raises BuildFailed."""
        name = f"octo-stack-export-{tag}"
        self._engine.remove_container(name)  # of a run that was killed
        body = {"Image": named(tag), "Cmd": ["/bin/true"], "NetworkDisabled": True}
        made = self._engine.post("containers", "create", body=body, query={"name": name})["Id"]
        try:
            stream = self._engine.stream("GET", "containers", made, "export")
            with (
                contextlib.closing(stream),
                _Piped(["tar", "-C", str(root), "--numeric-owner", "-p", "-x"], into=True) as tar,
                contextlib.suppress(BrokenPipeError),  # tar has ended, and its code says how
            ):
                for chunk in stream.chunks():
                    os.write(tar.ours, chunk)
            if tar.code:
                raise BuildFailed(f'cannot unpack the image "{named(tag)}": tar ended with {tar.code}')
        finally:
            self._engine.remove_container(made)

    def tag(self, tag: str, also: str) -> None:
        self._engine.post("images", named(tag), "tag", query={"repo": REPOSITORY, "tag": also})

    def drop(self, tag: str) -> bool:
        """Whether it was there. Raises Conflict while a container needs it."""
        return self._engine.delete("images", named(tag))


class _Piped:
    """A program with our end of its stdin or its stdout; `code` is there when the `with` has ended."""

    def __init__(self, argv: Sequence[str], *, into: bool) -> None:
        reader, writer = os.pipe()
        self.ours, theirs = (writer, reader) if into else (reader, writer)
        self.code = 0
        try:
            self._program = process.spawn(argv, stdin=theirs) if into else process.spawn(argv, stdout=theirs)
        except BaseException:
            os.close(self.ours)
            raise
        finally:
            os.close(theirs)

    def __enter__(self) -> "_Piped":  # noqa: PYI034 - Self would say no more
        return self

    def __exit__(self, *failure: object) -> None:
        os.close(self.ours)
        self.code = self._program.wait()


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, PIECE):
        yield piece
