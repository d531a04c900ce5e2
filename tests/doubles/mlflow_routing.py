"""The routing of the installed MLflow, by its own routing libraries: which of its routes serves a request."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from starlette.routing import compile_path
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule


class Served(NamedTuple):
    """MLflow's routes, (path, methods) in matching order, and the names of its GraphQL mutations.

    ``uses``: (path, methods, names of functions that the handler uses).
    """

    fastapi: list[tuple[str, list[str]]]
    flask: list[tuple[str, list[str]]]
    uses: list[tuple[str, list[str], list[str]]]
    mutations: list[str]

    def names(self) -> set[tuple[str, str]]:
        return {
            (method, template_of(path))
            for path, methods in self.fastapi + self.flask
            for method in methods
            if method not in {"HEAD", "OPTIONS"}
        }

    @classmethod
    def load(cls, directory: Path) -> "Served":
        """The routes of the installed MLflow, which takes seconds; it writes its files into the directory."""
        environ = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        script = Path(__file__).with_name("served_routes.py")
        # -P: modules beside the script have the names of packages.
        completed = subprocess.run(
            [sys.executable, "-P", script], cwd=directory, env=environ, capture_output=True, check=True
        )
        return cls(**json.loads(completed.stdout))


class Servers:
    """The routing of MLflow's two servers: uvicorn tries FastAPI's routes and then Flask's, gunicorn Flask's only."""

    def __init__(self, served: Served) -> None:
        self._fastapi = [(compile_path(path)[0], path, methods) for path, methods in served.fastapi]
        rules = [Rule(path, endpoint=path, methods=methods) for path, methods in served.flask]
        self._flask = Map(rules).bind("localhost")

    def find(self, method: str, path: str) -> set[str]:
        """The templates to which the servers route a decoded path: none, one or two."""
        wsgi = self._wsgi(method, path)
        asgi = next((name for regex, name, methods in self._fastapi if method in methods and regex.match(path)), wsgi)
        return {template_of(name) for name in (asgi, wsgi) if name is not None}

    def _wsgi(self, method: str, path: str) -> str | None:
        try:
            return self._flask.match(path, method)[0]
        except HTTPException:
            return None


def template_of(path: str) -> str:
    """The template in the table's syntax, from FastAPI's syntax or from a mistake in MLflow 2's Flask routes."""
    return re.sub(r"\{(\w+)\}", r"<\1>", re.sub(r"\{(\w+):path\}", r"<path:\1>", path))
