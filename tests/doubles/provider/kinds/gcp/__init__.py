"""Google Cloud, one module for each child component. Error messages are those of Google where they are documented."""

from . import (
    app_engine,
    domains,
    iap,
    identity,
    kms,
    logs,
    monitoring,
    network,
    project,
    registry,
    scheduler,
    secrets,
    sql,
    storage,
)

_SERVICES = (domains, iap, kms, network, sql, storage, secrets, registry, logs, monitoring, scheduler)
KINDS = tuple(kind for module in (project, identity, app_engine, *_SERVICES) for kind in module.KINDS)
