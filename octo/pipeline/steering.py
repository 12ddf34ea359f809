"""The config keys that steer octo: are their values good, and what do they make of a release?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from octo import options
from octo.catalog import Catalog
from octo.errors import Usage
from octo.formation import follow
from octo.model import App, AppName, Release, port_number
from octo.pipeline.services import check_of, tags_of
from octo.runoptions import RunOptions


def check(config: Mapping[str, str]) -> None:
    """Raises Usage, naming the first key whose value is off. Values may come from a store that others write to."""
    if config.get("PORT"):
        port_number(config["PORT"])
    options.memory_limit(config)
    options.containers(config)
    options.from_config(config)
    check_of(config)
    tags_of(config.get("CONSUL_TAGS", ""))


def steered(release: Release, name: AppName, asked: RunOptions, *, tags: str, volumes: Sequence[str]) -> Release:
    """The release with what Dockerfile and config ask for beside code and variables. Raises Usage.

    asked: by the Dockerfile. tags, volumes: as in Build.
    """
    check(release.config)
    wanted = options.effective(asked, release.config)
    return replace(
        release,
        options=wanted,
        routed=release.routed and not wanted.no_http_proxy,
        processes={} if options.is_data(name) else release.processes,  # what keeps volumes runs nothing that lasts
        tags=tags,
        volumes=tuple(volumes),
    )


def formation(catalog: Catalog, app: App, release: Release) -> Mapping[str, int]:
    """How many of each type there are to be with this release, where CONTAINERS may be another than before."""
    live = catalog.live(app)
    before = live.config if live else {}
    try:
        was = options.containers(before)
    except Usage:  # written by others, while nobody looked
        was = None
    return follow(catalog.scale(app), was, options.containers(release.config))


def containers_key(config: Mapping[str, str], numbers: Mapping[str, int]) -> dict[str, str]:
    """The change of config that keeps CONTAINERS, where it is set, in step with the number of `web`."""
    return {"CONTAINERS": str(numbers["web"])} if config.get("CONTAINERS") and "web" in numbers else {}
