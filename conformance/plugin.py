"""A pytest plugin (``-p conformance.plugin``) that puts each server of MLflow's tests behind the proxy.

MLflow's tests start a fresh server with one of the functions in ``_SERVERS`` and use the URL that it returns, or the
port that they chose. ``CONFORMANCE_MODE``: ``direct`` (no proxy), ``plain`` or ``signed``. ``CONFORMANCE_LOG``: the
file for the access log.
"""

import contextlib
import functools
import importlib
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from conformance.proxy_thread import behind_proxy
from local.fake_sagemaker import Authority

Server = Callable[..., contextlib.AbstractContextManager[Any]]

# Functions of test modules that start a server and yield its URL.
_SERVERS = ("_init_server", "_run_mlflow_server")
_authority: list[Authority] = []
_replaced: list[Server] = []


def pytest_configure(config: pytest.Config) -> None:
    """Replace the functions that start servers, unless the mode is direct."""
    mode = os.environ["CONFORMANCE_MODE"]
    if mode == "direct":
        return
    config.stash[_MODULES] = set()
    if mode == "signed":
        folder = Path(os.environ["CONFORMANCE_LOG"]).parent / f"tls-{os.getpid()}"
        folder.mkdir()
        _authority.append(Authority.create(folder))
    utilities = importlib.import_module("tests.tracking.integration_test_utils")
    _replace(utilities)
    thread = utilities.ServerThread
    thread.__enter__, thread.__exit__ = _entered(thread.__enter__), _exited(thread.__exit__)


_MODULES = pytest.StashKey[set[str]]()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Replace the functions that the test's module has itself."""
    module = getattr(item, "module", None)
    modules = item.config.stash.get(_MODULES, None)
    if module is not None and modules is not None and module.__name__ not in modules:
        modules.add(module.__name__)
        _replace(module)


def _replace(module: Any) -> None:
    for name in _SERVERS:
        original = getattr(module, name, None)
        if original is not None and original not in _replaced:
            _replaced.append(_yielding_url(original))
            setattr(module, name, _replaced[-1])
    original = getattr(module, "_launch_server", None)
    if original is not None:
        module._launch_server = _at_port(original)


def _proxy(url: str, port: int = 0) -> contextlib.AbstractContextManager[str]:
    log = Path(os.environ["CONFORMANCE_LOG"])
    return behind_proxy(url, _authority[0] if _authority else None, log, port)


def _yielding_url(start: Server) -> Server:
    @functools.wraps(start)
    @contextlib.contextmanager
    def started(*arguments: Any, **keywords: Any) -> Generator[str]:
        with start(*arguments, **keywords) as url, _proxy(url) as proxy_url:
            yield proxy_url

    return started


def _at_port(start: Server) -> Server:
    """For a function of a host and a port: the proxy gets this port, the server another one."""

    @contextlib.contextmanager
    def started(host: str, port: int, *arguments: Any, **keywords: Any) -> Generator[Any]:
        other = importlib.import_module("tests.helper_functions").get_safe_port()
        with start(host, other, *arguments, **keywords) as process, _proxy(f"http://{host}:{other}", port):
            yield process

    return started


def _entered(enter: Callable[[Any], str]) -> Callable[[Any], str]:
    def entered(self: Any) -> str:
        stack = self.conformance = contextlib.ExitStack()
        return stack.enter_context(_proxy(enter(self)))

    return entered


def _exited(leave: Callable[..., bool | None]) -> Callable[..., bool | None]:
    def exited(self: Any, *raised: Any) -> bool | None:
        self.conformance.close()
        return leave(self, *raised)

    return exited


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of MLflow's file store, which MLflow no longer supports."""
    removed = [item for item in items if "file" in getattr(getattr(item, "callspec", None), "params", {}).values()]
    config.hook.pytest_deselected(items=removed)
    items[:] = [item for item in items if item not in removed]
