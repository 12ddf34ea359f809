"""What the containers of an app are run with beside image and config: octohost's magic comments, as values."""

from dataclasses import dataclass, fields

ANY = "0.0.0.0"  # noqa: S104 - every address of the host, octohost's default


@dataclass(frozen=True)
class Link:
    """`# LINK_SERVICE`: a name under which the containers of another app are found."""

    alias: str
    to: str = ""  # the other app's name; "" is the linking app's own, with _ALIAS behind it


@dataclass(frozen=True)
class Mount:
    """`# MOUNT_FROM_HOST`: a folder or file of the host in the containers."""

    host: str
    container: str


@dataclass(frozen=True)
class HostPort:
    """`# PORTS_FROM_HOST`: a TCP port of the host that leads to one of the containers."""

    host: int
    container: int
    ip: str = ANY


@dataclass(frozen=True)
class RunOptions:
    add_name: bool = False  # the containers' host name is the app's
    volumes_from: bool = False  # they have the volumes of the app NAME_data
    no_http_proxy: bool = False  # they are run and not routed
    links: tuple[Link, ...] = ()
    mounts: tuple[Mount, ...] = ()
    ports: tuple[HostPort, ...] = ()

    def or_else(self, other: "RunOptions") -> "RunOptions":
        """Each option as it is here, or as in `other` where it is not given here."""
        return RunOptions(*(getattr(self, f.name) or getattr(other, f.name) for f in fields(self)))


PLAIN = RunOptions()  # nothing was asked for
