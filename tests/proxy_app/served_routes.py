"""Print, as JSON, the routes that the installed MLflow serves. A script, since importing its server takes seconds."""

import json
import warnings

warnings.simplefilter("ignore")

from fastapi.routing import iter_route_contexts  # noqa: E402
from mlflow.server import app as flask_app  # noqa: E402
from mlflow.server.fastapi_app import create_fastapi_app  # noqa: E402
from mlflow.server.graphql.graphql_schema_extensions import schema  # noqa: E402

# In the order of matching. Flask's app is mounted after FastAPI's routes, and is the only one without a path.
fastapi = [(route.path, sorted(route.methods or ())) for route in iter_route_contexts(create_fastapi_app().routes)]
flask = [(rule.rule, sorted(rule.methods or ())) for rule in flask_app.url_map.iter_rules()]
mutations = schema.graphql_schema.mutation_type
print(
    json.dumps(
        {
            "fastapi": [route for route in fastapi if route[0]],
            "flask": flask,
            "mutations": sorted(mutations.fields) if mutations else [],
        }
    )
)
