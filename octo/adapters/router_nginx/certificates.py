"""Certificates: of the apps, from files or from text, and octo's own for those who bring none."""

import os
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from octo.adapters.router_nginx.files import read
from octo.errors import OctoError, RouterFailed
from octo.model import shown
from octo.ports import Route

DEFAULT = "default"  # the file of octo's own; no App.id is a word
LONGEST = 256 * 1024  # bytes of a file
_AGE = timedelta(days=3650)
_RENEW = timedelta(days=30)
_SOON = timedelta(days=7)


@dataclass(frozen=True)
class Certificate:
    pem: bytes  # the chain, its first one first, and the key
    hosts: tuple[str, ...]  # those of the app that it is for; the others are shown octo's own


class Certificates:
    def __init__(self, folders: Sequence[Path], own: Path, names: Sequence[str]) -> None:
        """folders: where files may lie. own: the file of octo's own. names: the suffixes that it is for."""
        self._folders, self._own, self._names = tuple(folders), own, tuple(names)

    def of(self, route: Route) -> Certificate | None:
        """The app's certificate; None when it has none, or not its key yet. Raises RouterFailed, as nginx would."""
        front = route.front
        if not front.certificate or not front.key:
            return None
        chain = self._text(route.app, "SSL_CERTIFICATE", front.certificate)
        key = self._text(route.app, "SSL_KEY", front.key)
        names = _checked(route.app, chain, key)
        hosts = tuple(h for h in route.hosts if any(covers(name, h) for name in names))
        if not hosts:
            raise RouterFailed(
                f'cannot use the certificate of "{route.app}": it is for {_listed(names)}, and none of the app\'s names'
                f" ({_listed(route.hosts)}) is among them",
                hint="Add the domain first, or bring a certificate for the app's names.",
            )
        return Certificate(f"{chain.strip()}\n{key.strip()}\n".encode(), hosts)

    def default(self) -> bytes:
        """octo's own certificate and key, signed by itself; made when it is missing, old or for other suffixes."""
        try:
            pem = self._own.read_bytes()
            if expires(pem) > datetime.now(UTC) + _RENEW and set(names_of(pem)) == set(self._asked()):
                return pem
        except (OSError, ValueError):
            pass
        pem = _self_signed(self._asked())
        fresh = self._own.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(pem)
        fresh.replace(self._own)
        return pem

    def _asked(self) -> list[str]:
        return [name for suffix in self._names for name in (suffix, f"*.{suffix}")]

    def _text(self, app: str, key: str, given: str) -> str:
        if "-----BEGIN" in given:
            return given
        real = Path(os.path.realpath(self._folders[0] / given if self._folders else given))
        if not any(real.is_relative_to(os.path.realpath(folder)) for folder in self._folders):
            raise RouterFailed(
                f'cannot use {key} of "{app}": {shown(given)} lies in no folder for certificates',
                hint="Put the text of the file itself into the config, or ask the operator (setting certificates).",
            )
        try:
            return read(real, LONGEST).decode("ascii", "replace")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise RouterFailed(f'cannot use {key} of "{app}": {shown(given)}: {why}') from None


def covers(name: str, host: str) -> bool:
    """Whether a certificate for `name`, maybe "*.example.com", is one for `host` (RFC 6125, 6.4)."""
    name = name.lower()
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])


def names_of(pem: bytes) -> Sequence[str]:
    """The DNS names of the first certificate. Raises ValueError when there is none that can be read."""
    from cryptography import x509  # 30 ms, for who serves https alone

    leaf = x509.load_pem_x509_certificates(pem)[0]
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return found.value.get_values_for_type(x509.DNSName)


def expires(pem: bytes) -> datetime:
    """Raises ValueError as `names_of` does."""
    from cryptography import x509

    leaf = x509.load_pem_x509_certificates(pem)[0]
    return leaf.not_valid_after_utc


def ending(app: str, pem: bytes) -> str:
    """A sentence when the certificate has ended or soon will; else ""."""
    end = expires(pem)
    if end > datetime.now(UTC) + _SOON:
        return ""
    verb = "ended" if end <= datetime.now(UTC) else "ends"
    return f'the certificate of "{app}" {verb} on {end:%Y-%m-%d}'


@lru_cache(1024)
def _checked(app: str, chain: str, key: str) -> tuple[str, ...]:
    """The names of the certificate. Raises RouterFailed when OpenSSL, and so nginx, would not have the pair."""
    refused: Callable[[str], OctoError] = lambda why: RouterFailed(  # noqa: E731
        f'cannot use the certificate of "{app}": {why}',
        hint=f"Set both in one command: octo config:set -a {app} SSL_CERTIFICATE=... SSL_KEY=...",
    )
    if "ENCRYPTED" in key:
        raise refused("its key asks for a password")
    try:
        names = tuple(names_of(chain.encode()))
    except ValueError:
        raise refused("SSL_CERTIFICATE is no certificate in PEM") from None
    try:
        _load(f"{chain.strip()}\n{key.strip()}\n".encode())
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise refused("its key is another one's, they do not match") from None
        if "-----BEGIN" not in key or "PRIVATE KEY" not in key:
            raise refused("SSL_KEY is no key in PEM") from None
        raise refused(f"OpenSSL says {shown(error.reason or 'it cannot read it')}") from None
    return names


def _load(pem: bytes) -> None:
    fd = os.memfd_create("certificate")
    try:
        os.write(fd, pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"/proc/self/fd/{fd}", password="")  # with none it would ask at octod's terminal
    finally:
        os.close(fd)


def _self_signed(names: Sequence[str]) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "octo")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + _AGE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(alternatives, critical=False)
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + secret


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    return ", ".join(every[:5]) + (", ..." if len(every) > 5 else "") or "no host name"
