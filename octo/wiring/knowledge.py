"""Where octo keeps what it knows, and where it makes services known."""

from pathlib import Path

from octo.adapters.registry_store import StoreRegistry
from octo.adapters.store_sqlite import SqliteStore
from octo.catalog.writes import CONFIG, DOCUMENTS
from octo.errors import Usage
from octo.ports import Registry, Store
from octo.settings import Settings


def memory(settings: Settings) -> tuple[Store, Registry]:
    """Where octo keeps what it knows, and where it makes services known. Asks nobody yet."""
    kind = settings.registry or ("consul" if settings.store == "consul" else "store")
    if "consul" not in (settings.store, kind):
        store = SqliteStore(settings.home / "octo.db")
        return store, StoreRegistry(store)
    # Here, for who has no Consul: importing py-consul takes 130 ms.
    from octo.adapters.registry_consul import ConsulRegistry
    from octo.adapters.store_consul import ConsulStore
    from octo.agent import Agent

    agent = Agent(
        settings.consul,
        token=consul_token(settings),
        ca=settings.consul_ca,
        datacenter=settings.consul_datacenter,
        patience=settings.consul_patience,
    )
    if settings.store == "sqlite":
        kept: Store = SqliteStore(settings.home / "octo.db")
    else:
        own = f"{settings.consul_documents}/"
        config = f"{settings.consul_prefix}/" if settings.consul_prefix else ""
        session = settings.home / "consul-session"
        kept = ConsulStore(agent, prefixes={CONFIG: config, DOCUMENTS: own}, own=own, memory=session)
    return kept, ConsulRegistry(agent, instance=settings.instance) if kind == "consul" else StoreRegistry(kept)


def consul_token(settings: Settings) -> str:
    if not settings.consul_token_file:
        return settings.consul_token
    try:
        return Path(settings.consul_token_file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f'cannot read the consul_token_file "{settings.consul_token_file}": {error}') from None
