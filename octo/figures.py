"""The settings as the figures that the pipelines take."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from octo.model import App
from octo.pipeline.build import Rules
from octo.pipeline.refs import Branches
from octo.pipeline.steps import Budgets
from octo.ports import Limits
from octo.settings import Settings
from octo.specs import MB


def push_limits(settings: Settings) -> Limits:
    """Of a receiver. Its disk counts where the repository is an archive: there and back, and what comes in."""
    disk = 4 * settings.push_mb * MB
    return Limits(settings.push_memory_mb * MB, 2.0, 256, settings.push_seconds, disk=disk)


def branches(settings: Settings) -> Branches:
    named = settings.branches
    own = Branches(apps=named == ("apps",), copy=settings.branch_config == "copy", grace=settings.branch_grace)
    return own if named in (("apps",), ("off",)) else replace(own, main=named)


def budgets(settings: Settings) -> Budgets:
    return Budgets(
        boot=settings.boot_seconds,
        settle=settings.settle_seconds,
        drain=settings.drain_seconds,
        grace=settings.grace_seconds,
        keep=settings.keep_releases,
    )


def sizes(settings: Settings) -> Mapping[str, int]:
    """Bytes that a sandbox may store of each kind of blob."""
    return {"slug": settings.slug_mb * MB, "cache": settings.cache_mb * MB, "repository": 4 * settings.push_mb * MB}


def rules(settings: Settings) -> Rules:
    limits = Limits(
        settings.build_memory_mb * MB,
        settings.build_cpus,
        settings.build_pids,
        settings.build_seconds,
        disk=settings.build_disk_mb * MB,
        files=settings.build_files,
        tmp=settings.build_tmp_mb * MB,
        open_files=settings.build_open_files,
        output=settings.build_output_mb * MB,
    )
    return Rules(
        limits,
        settings.instance,
        settings.build_args,
        settings.stack,
        settings.fetch_seconds,
        settings.slug_mb * MB,
        settings.cache_mb * MB,
        settings.plain_fetch,
    )


def url_of(settings: Settings) -> Callable[[App], str]:
    """Where an app is served, for people."""
    return lambda app: link_of(settings)(f"{app.name}.{settings.domain_suffix}")


def link_of(settings: Settings) -> Callable[[str], str]:
    """A host name as a URL. With link_prefix "https" and no https_port, https ends in front of octo, at port 443."""
    secure = settings.link_prefix == "https"
    port, usual = (settings.https_port, 443) if secure else (settings.http_port, 80)
    behind = "" if port in (0, usual) else f":{port}"
    return lambda host: f"{settings.link_prefix}://{host}{behind}"


def reserved(settings: Settings) -> Mapping[int, str]:
    """octo's own ports, which no app can have."""
    taken = {settings.ssh_port: "pushes by SSH", settings.http_port: "all websites"}
    return taken | ({settings.https_port: "all websites"} if settings.https_port else {})
