"""What an app's config says about how it is served: octohost's NGINX_ALT, SSL_* and one key more. Pure."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from octo.errors import Usage
from octo.model import CONTROL_KEYS, shown
from octo.ports import Front

_TEMPLATE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def front_of(config: Mapping[str, str]) -> Front:
    """config: of a release. A key that is set to nothing is as if it were not there. Raises Usage."""
    return Front(
        template=_template(config.get("NGINX_ALT", "")),
        forced=bool(config.get("SSL_FORCED")),
        sticky=bool(config.get("NGINX_STICKY")),
        certificate=config.get("SSL_CERTIFICATE", ""),
        key=config.get("SSL_KEY", ""),
    )


def given(config: Mapping[str, str]) -> Mapping[str, str]:
    """What a template may name: the app's own variables, nothing that steers octo."""
    return {key: value for key, value in config.items() if key not in CONTROL_KEYS}


def _template(text: str) -> str:
    """A name, or octohost's path, of which the last part counts: octo has one folder of templates."""
    path = PurePosixPath(text)
    name = path.name if path.is_absolute() and ".." not in path.parts else text
    if text and not _TEMPLATE.fullmatch(name):
        raise Usage(
            f"cannot use {shown(text)} as NGINX_ALT: it is no template's name",
            hint="Give the name of a file in the operator's folder of templates, as in shop.conf.",
        )
    return name
