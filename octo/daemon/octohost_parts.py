"""What an octohost's config names by path, found in the copy: templates, which are translated, and certificates."""

import os
import re
import secrets
from pathlib import Path, PurePosixPath

from octo.ctmpl import translated
from octo.daemon.octohost_files import TEMPLATES, Copy
from octo.errors import Usage
from octo.model import MAX_CONFIG_VALUE, shown
from octo.pipeline.front import front_of
from octo.ports import Console
from octo.settings import Settings

LONGEST = 256 * 1024  # bytes of a template
SUFFIX, OURS = ".ctmpl", ".conf"
_PEM = re.compile(r"-----BEGIN (?:CERTIFICATE|(?:RSA |EC )?PRIVATE KEY)-----")


class Parts:
    def __init__(self, copy: Copy, settings: Settings, console: Console) -> None:
        self._copy, self._settings, self._console = copy, settings, console

    def pem(self, given: str) -> str:
        """A certificate's or key's text; a path stays where octo itself can read it. Raises Usage."""
        if "-----BEGIN" in given:
            return given
        path = PurePosixPath(given)
        data = self._copy.read(str(path.relative_to("/")), MAX_CONFIG_VALUE) if _whole(path) else None
        if data is not None:
            text = data.decode("ascii", "replace")
            if not _PEM.search(text):  # an app's people read its config: no other secret may get there by its path
                raise Usage(f"{shown(given)} is no certificate and no key in PEM")
            return text
        real = Path(os.path.realpath(given))
        if real.is_file() and any(real.is_relative_to(os.path.realpath(f)) for f in self._settings.certificates):
            return given
        raise Usage(f"{shown(given)} is neither in the copy nor in octo's folder of certificates")

    def template(self, given: str) -> str:
        """The name of a template of octohost's in octo's folder, where it is put, translated. Raises Usage."""
        old = PurePosixPath(given).name
        name = front_of(
            {"NGINX_ALT": old.removesuffix(SUFFIX) + OURS * (old.endswith(SUFFIX) or "." not in old)}
        ).template
        text = self._text(given, old)
        there = self._settings.templates / name
        if text is None:
            if there.is_file():
                return name
            raise Usage(f"the template {shown(given)} is not in the copy")
        self._put(there, translated(text).encode())
        return name

    def _text(self, given: str, name: str) -> str | None:
        """Only of the folders for templates: who set the config could name any file."""
        path = str(PurePosixPath(given).parent).strip("/")
        for folder in sorted(TEMPLATES, key=lambda each: each != path):
            text = self._copy.text(f"{folder}/{name}", LONGEST)
            if text is not None:
                return text
        return None

    def _put(self, path: Path, data: bytes) -> None:
        """Whole or not at all, and never over another text."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".new-{secrets.token_hex(4)}")
        try:
            fresh.write_bytes(data)
            os.link(fresh, path)
        except FileExistsError:
            if path.read_bytes() != data:
                self._console.detail(f"The template {path.name} is here already with another text, which stays.")
        else:
            self._console.detail(f"Translated a template into {path}")
        finally:
            fresh.unlink(missing_ok=True)


def _whole(path: PurePosixPath) -> bool:
    return path.is_absolute() and ".." not in path.parts and len(path.parts) > 1
