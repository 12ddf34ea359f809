"""Releases that are made of an earlier one: which, and how."""

from collections.abc import Mapping
from dataclasses import replace

from octo.catalog import Catalog
from octo.errors import NotFound, Usage
from octo.model import App, Release, ReleaseStatus, UserName
from octo.pipeline.plan import port_of
from octo.pipeline.steering import steered
from octo.ports import Ports


def rollback_to(ports: Ports, catalog: Catalog, app: App, version: int | None, *, keep: int) -> Release:
    """The release that a rollback means; None: the one before. Raises NotFound, Usage. keep: as in Budgets."""
    served = [r for r in catalog.releases(app) if r.status is ReleaseStatus.LIVE and r.version != app.live]
    if version is None:
        if not served:
            raise NotFound(f'cannot roll back "{app.name}": there is no earlier release')
        version = served[-1].version
    if version == app.live:
        raise Usage(f'cannot roll back "{app.name}" to v{version}: it is the one that serves')
    old = catalog.release(app, version)
    if old.status is not ReleaseStatus.LIVE:
        raise Usage(f'cannot roll back "{app.name}" to v{version}: that release never served')
    if ports.runtime.image(old.image) is None:
        raise NotFound(
            f'cannot roll back "{app.name}" to v{version}: its image has been removed',
            hint=f"The images of the last {keep} releases stay (setting keep_releases).",
        )
    return old


def successor(
    ports: Ports,
    catalog: Catalog,
    app: App,
    old: Release,
    config: Mapping[str, str],
    description: str,
    user: UserName | None,
) -> Release:
    """A release with the image and processes of an old one, and this config. Raises NotFound: the image is gone."""
    image = ports.runtime.image(old.image)
    if image is None:
        raise NotFound(f"cannot use the image of v{old.version}: the engine does not have it any more")
    build = next((b for b in catalog.builds(app) if b.id == old.build), None)
    port, routed = port_of(config, build.ports if build else image.ports)
    fresh = Release(old.app, 0, old.image, ports.clock.now(), old.commit, description)
    fresh = replace(fresh, build=old.build, config=config, processes=old.processes, port=port, routed=routed, user=user)
    asked = build.options if build else old.options
    return steered(fresh, app.name, asked, tags=old.tags, volumes=old.volumes)
