"""Print, as JSON, the routes that the installed MLflow serves. A script, since importing its server takes seconds."""

import inspect
import json
import warnings
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

warnings.simplefilter("ignore")

from fastapi.routing import iter_route_contexts  # noqa: E402
from mlflow.server import app as flask_app  # noqa: E402
from mlflow.server.fastapi_app import create_fastapi_app  # noqa: E402
from mlflow.server.graphql.graphql_schema_extensions import schema  # noqa: E402


def names(function: Callable[..., Any]) -> Iterator[str]:
    """The names of functions and attributes that a handler uses, those of its inner functions included."""
    codes = [inspect.unwrap(function).__code__]
    for code in codes:
        codes.extend(constant for constant in code.co_consts if isinstance(constant, CodeType))
        yield from code.co_names


# In the order of matching. Flask's app is mounted after FastAPI's routes, and is the only one without a path.
contexts = [route for route in iter_route_contexts(create_fastapi_app().routes) if route.path]
fastapi = [(route.path, sorted(route.methods or ())) for route in contexts]
rules = list(flask_app.url_map.iter_rules())
flask = [(rule.rule, sorted(rule.methods or ())) for rule in rules]
handlers = [(route.path, sorted(route.methods or ()), route.endpoint) for route in contexts if route.endpoint]
handlers += [(rule.rule, sorted(rule.methods or ()), flask_app.view_functions[rule.endpoint]) for rule in rules]
uses = [(path, methods, sorted(set(names(handler)))) for path, methods, handler in handlers]
mutations = schema.graphql_schema.mutation_type
print(
    json.dumps(
        {
            "fastapi": fastapi,
            "flask": flask,
            "uses": uses,
            "mutations": sorted(mutations.fields) if mutations else [],
        }
    )
)
