"""Google Cloud, one module for each box of the picture. Errors are in Google's words where somebody has quoted them."""

from . import app_engine, identity, logs, network, project, proxy, registry, secrets, sql, storage, watching

KINDS = tuple(
    kind
    for module in (project, identity, app_engine, proxy, network, sql, storage, secrets, registry, logs, watching)
    for kind in module.KINDS
)
