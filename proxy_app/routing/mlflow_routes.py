"""The MLflow routes that the proxy forwards: the only file to edit for a new version of MLflow.

A line contains the methods, the least role, whether the request is ``idempotent`` (it may be sent again after a lost
response; ``-``: it may not), and the path template. A path under /api/ also stands for the same path under /ajax-api/,
which MLflow's UI uses. Methods, paths and parameters are those of mlflow.server (Flask) and of its FastAPI routers; a
HEAD request has the route of GET. The rules:

- viewer: changes nothing, even as a POST.
- editor: writes tracking data, or makes the server call a model at its owner's expense.
- admin: deletes, changes a model's stage or alias, or reaches beyond tracking data: runs code with the server's keys,
  shows or stops the jobs of all users, or changes where other users' agents connect.
- not idempotent: creates a second object, or fails, when repeated; also where that is not certain.

``long-running`` after a group's name: its requests transfer files or wait for a model, and have the longer timeout.

``<path:x>`` matches the rest of the path, slashes included. Within a resource group, lines with such a parameter are
tried from top to bottom. The routes for users and permissions of MLflow's basic-auth app are not forwarded.
"""

import itertools
from collections.abc import Iterator

from ..auth import Role
from .route import Route

# MLflow 3.17.2. Versions 2.16 to 3.10 have no other routes, except those in _REMOVED.
_CURRENT = """
[experiments]
POST      editor  -           /api/2.0/mlflow/experiments/create
POST      admin   -           /api/2.0/mlflow/experiments/delete
POST      admin   -           /api/2.0/mlflow/experiments/delete-experiment-tag
GET       viewer  idempotent  /api/2.0/mlflow/experiments/get
GET       viewer  idempotent  /api/2.0/mlflow/experiments/get-by-name
POST      editor  -           /api/2.0/mlflow/experiments/restore                 # finds deleted ones only
GET,POST  viewer  idempotent  /api/2.0/mlflow/experiments/search
POST      editor  idempotent  /api/2.0/mlflow/experiments/set-experiment-tag
POST      editor  idempotent  /api/2.0/mlflow/experiments/update
POST      viewer  idempotent  /api/2.0mlflow/experiments/search-datasets          # without the slash in MLflow
POST      viewer  idempotent  /ajax-api/2.0/mlflow/experiments/search-datasets

[runs]
POST      editor  -           /api/2.0/mlflow/runs/create
POST      editor  -           /ajax-api/2.0/mlflow/runs/create-promptlab-run
POST      admin   idempotent  /api/2.0/mlflow/runs/delete                         # only sets the deleted mark
POST      admin   -           /api/2.0/mlflow/runs/delete-tag
GET       viewer  idempotent  /api/2.0/mlflow/runs/get
POST      editor  idempotent  /api/2.0/mlflow/runs/log-batch                      # drops metrics that it has
POST      editor  idempotent  /api/2.0/mlflow/runs/log-inputs
POST      editor  idempotent  /api/2.0/mlflow/runs/log-metric
POST      editor  -           /api/2.0/mlflow/runs/log-model                      # appends to a list
POST      editor  idempotent  /api/2.0/mlflow/runs/log-parameter
POST      editor  -           /api/2.0/mlflow/runs/outputs
POST      editor  idempotent  /api/2.0/mlflow/runs/restore
POST      viewer  idempotent  /api/2.0/mlflow/runs/search
POST      editor  idempotent  /api/2.0/mlflow/runs/set-tag
POST      editor  idempotent  /api/2.0/mlflow/runs/update                         # name, status, end: cannot delete

[metrics]
GET       viewer  idempotent  /api/2.0/mlflow/metrics/get-history
GET       viewer  idempotent  /ajax-api/2.0/mlflow/metrics/get-history-bulk
GET       viewer  idempotent  /api/2.0/mlflow/metrics/get-history-bulk-interval

[registered-models]
DELETE    admin   -           /api/2.0/mlflow/registered-models/alias
GET       viewer  idempotent  /api/2.0/mlflow/registered-models/alias
POST      admin   idempotent  /api/2.0/mlflow/registered-models/alias
POST      editor  -           /api/2.0/mlflow/registered-models/create
DELETE    admin   -           /api/2.0/mlflow/registered-models/delete
DELETE    admin   -           /api/2.0/mlflow/registered-models/delete-tag
GET       viewer  idempotent  /api/2.0/mlflow/registered-models/get
GET,POST  viewer  idempotent  /api/2.0/mlflow/registered-models/get-latest-versions
POST      editor  -           /api/2.0/mlflow/registered-models/rename            # the old name is gone
GET       viewer  idempotent  /api/2.0/mlflow/registered-models/search
POST      editor  idempotent  /api/2.0/mlflow/registered-models/set-tag
PATCH     editor  idempotent  /api/2.0/mlflow/registered-models/update

[model-versions]
POST      editor  -           /api/2.0/mlflow/model-versions/create
DELETE    admin   -           /api/2.0/mlflow/model-versions/delete
DELETE    admin   -           /api/2.0/mlflow/model-versions/delete-tag
GET       viewer  idempotent  /api/2.0/mlflow/model-versions/get
GET       viewer  idempotent  /api/2.0/mlflow/model-versions/get-download-uri
GET       viewer  idempotent  /api/2.0/mlflow/model-versions/search
POST      editor  idempotent  /api/2.0/mlflow/model-versions/set-tag
POST      admin   idempotent  /api/2.0/mlflow/model-versions/transition-stage
PATCH     editor  idempotent  /api/2.0/mlflow/model-versions/update               # the description only

[logged-models]
POST      editor  -           /api/2.0/mlflow/logged-models
DELETE    admin   idempotent  /api/2.0/mlflow/logged-models/<model_id>            # only sets the deleted mark
GET       viewer  idempotent  /api/2.0/mlflow/logged-models/<model_id>
PATCH     editor  idempotent  /api/2.0/mlflow/logged-models/<model_id>
POST      editor  -           /api/2.0/mlflow/logged-models/<model_id>/params     # refuses those that it has
PATCH     editor  idempotent  /api/2.0/mlflow/logged-models/<model_id>/tags
DELETE    admin   -           /api/2.0/mlflow/logged-models/<model_id>/tags/<tag_key>
POST      viewer  idempotent  /api/2.0/mlflow/logged-models/search

# A webhook's URL is often a secret, so reading requires an admin, too, as in MLflow's basic-auth app.
[webhooks]
GET       admin   idempotent  /api/2.0/mlflow/webhooks
POST      admin   -           /api/2.0/mlflow/webhooks
DELETE    admin   -           /api/2.0/mlflow/webhooks/<webhook_id>
GET       admin   idempotent  /api/2.0/mlflow/webhooks/<webhook_id>
PATCH     admin   idempotent  /api/2.0/mlflow/webhooks/<webhook_id>
POST      admin   -           /api/2.0/mlflow/webhooks/<webhook_id>/test

[traces]
GET       viewer  idempotent  /api/2.0/mlflow/traces
POST      editor  -           /api/2.0/mlflow/traces                              # the server picks the id
PATCH     editor  idempotent  /api/2.0/mlflow/traces/<request_id>
GET       viewer  idempotent  /api/2.0/mlflow/traces/<request_id>/info
DELETE    admin   -           /api/2.0/mlflow/traces/<request_id>/tags
PATCH     editor  idempotent  /api/2.0/mlflow/traces/<request_id>/tags
POST      admin   -           /api/2.0/mlflow/traces/delete-traces                # max_traces: deletes more each time
POST      editor  idempotent  /api/2.0/mlflow/traces/link-prompts
POST      editor  idempotent  /api/2.0/mlflow/traces/link-to-run
GET       viewer  idempotent  /api/2.0/mlflow/get-online-trace-details
GET       viewer  idempotent  /api/2.0/mlflow/unified-traces
POST      editor  idempotent  /api/3.0/mlflow/traces                              # the client picks the id
GET       viewer  idempotent  /api/3.0/mlflow/traces/<trace_id>
POST      editor  -           /api/3.0/mlflow/traces/<trace_id>/assessments
DELETE    admin   -           /api/3.0/mlflow/traces/<trace_id>/assessments/<assessment_id>
GET       viewer  idempotent  /api/3.0/mlflow/traces/<trace_id>/assessments/<assessment_id>
PATCH     editor  idempotent  /api/3.0/mlflow/traces/<trace_id>/assessments/<assessment_id>
DELETE    admin   -           /api/3.0/mlflow/traces/<trace_id>/tags
PATCH     editor  idempotent  /api/3.0/mlflow/traces/<trace_id>/tags
GET       viewer  idempotent  /api/3.0/mlflow/traces/batchGet
POST      viewer  idempotent  /api/3.0/mlflow/traces/batchGetInfos
POST      viewer  idempotent  /api/3.0/mlflow/traces/calculate-filter-correlation
POST      admin   -           /api/3.0/mlflow/traces/delete-traces
GET       viewer  idempotent  /api/3.0/mlflow/traces/get
POST      viewer  idempotent  /api/3.0/mlflow/traces/metrics
POST      viewer  idempotent  /api/3.0/mlflow/traces/search

[otlp]
POST      editor  -           /v1/traces

[datasets]
DELETE    admin   -           /api/3.0/mlflow/datasets/<dataset_id>
GET       viewer  idempotent  /api/3.0/mlflow/datasets/<dataset_id>
POST      editor  idempotent  /api/3.0/mlflow/datasets/<dataset_id>/add-experiments
GET       viewer  idempotent  /api/3.0/mlflow/datasets/<dataset_id>/experiment-ids
DELETE    admin   -           /api/3.0/mlflow/datasets/<dataset_id>/records
GET       viewer  idempotent  /api/3.0/mlflow/datasets/<dataset_id>/records
POST      editor  -           /api/3.0/mlflow/datasets/<dataset_id>/records       # the counts in its response change
POST      admin   idempotent  /api/3.0/mlflow/datasets/<dataset_id>/remove-experiments
PATCH     editor  idempotent  /api/3.0/mlflow/datasets/<dataset_id>/tags
DELETE    admin   -           /api/3.0/mlflow/datasets/<dataset_id>/tags/<key>
POST      editor  -           /api/3.0/mlflow/datasets/create
GET,POST  viewer  idempotent  /api/3.0/mlflow/datasets/search

# A scorer runs on the server, with its keys of model providers; its parameters name the host that gets them (api_base).
[scorers]
DELETE    admin   -           /api/3.0/mlflow/scorers/delete
GET       viewer  idempotent  /api/3.0/mlflow/scorers/get
GET       viewer  idempotent  /api/3.0/mlflow/scorers/list
PUT       admin   idempotent  /api/3.0/mlflow/scorers/online-config
GET       viewer  idempotent  /api/3.0/mlflow/scorers/online-configs
POST      admin   -           /api/3.0/mlflow/scorers/register                    # a new version each time
GET       viewer  idempotent  /api/3.0/mlflow/scorers/versions
POST      admin   -           /ajax-api/3.0/mlflow/scorer/invoke                  # starts jobs

[issues]
POST      editor  -           /api/3.0/mlflow/issues
GET       viewer  idempotent  /api/3.0/mlflow/issues/<issue_id>
PATCH     editor  idempotent  /api/3.0/mlflow/issues/<issue_id>
POST      admin   -           /ajax-api/3.0/mlflow/issues/invoke                  # a job with any gateway secret
POST      viewer  idempotent  /api/3.0/mlflow/issues/search

[label-schemas]
POST      editor  -           /api/3.0/mlflow/label-schemas/create
DELETE    admin   -           /api/3.0/mlflow/label-schemas/delete
GET       viewer  idempotent  /api/3.0/mlflow/label-schemas/get
GET       viewer  idempotent  /api/3.0/mlflow/label-schemas/get-by-name
GET       viewer  idempotent  /api/3.0/mlflow/label-schemas/list
PATCH     editor  idempotent  /api/3.0/mlflow/label-schemas/update

[review-queues]
POST      editor  -           /api/3.0/mlflow/review-queues/create
POST      admin   -           /api/3.0/mlflow/review-queues/delete
GET       viewer  idempotent  /api/3.0/mlflow/review-queues/get
GET       viewer  idempotent  /api/3.0/mlflow/review-queues/get-by-name
POST      editor  idempotent  /api/3.0/mlflow/review-queues/get-or-create-user    # may create
POST      editor  idempotent  /api/3.0/mlflow/review-queues/items/add             # leaves those that it has
GET       viewer  idempotent  /api/3.0/mlflow/review-queues/items/list
POST      admin   idempotent  /api/3.0/mlflow/review-queues/items/remove
POST      editor  idempotent  /api/3.0/mlflow/review-queues/items/set-status
GET       viewer  idempotent  /api/3.0/mlflow/review-queues/list
POST      editor  idempotent  /api/3.0/mlflow/review-queues/update

# Jobs run with the server's keys, for all users; their parameters name hosts and may hold keys. A job cannot be
# cancelled twice.
[prompt-optimization]
POST      admin   -           /api/3.0/mlflow/prompt-optimization/jobs
DELETE    admin   -           /api/3.0/mlflow/prompt-optimization/jobs/<job_id>
GET       admin   idempotent  /api/3.0/mlflow/prompt-optimization/jobs/<job_id>
POST      admin   -           /api/3.0/mlflow/prompt-optimization/jobs/<job_id>/cancel
GET,POST  admin   idempotent  /api/3.0/mlflow/prompt-optimization/jobs/search

[jobs]
POST      admin   -           /ajax-api/3.0/jobs/
GET       admin   idempotent  /ajax-api/3.0/jobs/<job_id>
PATCH     admin   -           /ajax-api/3.0/jobs/cancel/<job_id>
POST      admin   idempotent  /ajax-api/3.0/jobs/search
GET       admin   idempotent  /ajax-api/3.0/mlflow/jobs/<job_id>
PATCH     admin   -           /ajax-api/3.0/mlflow/jobs/cancel/<job_id>
POST      admin   -           /ajax-api/3.0/mlflow/genai/evaluate/invoke

# The configuration of MLflow's AI Gateway: provider keys, budgets and guardrails. Secrets are returned masked.
[gateway]
POST      admin   -           /api/3.0/mlflow/gateway/budgets/create
DELETE    admin   -           /api/3.0/mlflow/gateway/budgets/delete
GET       viewer  idempotent  /api/3.0/mlflow/gateway/budgets/get
GET       viewer  idempotent  /api/3.0/mlflow/gateway/budgets/list
POST      admin   idempotent  /api/3.0/mlflow/gateway/budgets/update
GET       viewer  idempotent  /api/3.0/mlflow/gateway/budgets/windows
POST      admin   -           /api/3.0/mlflow/gateway/endpoints/bindings/create
DELETE    admin   -           /api/3.0/mlflow/gateway/endpoints/bindings/delete
GET       viewer  idempotent  /api/3.0/mlflow/gateway/endpoints/bindings/list
POST      admin   -           /api/3.0/mlflow/gateway/endpoints/create
DELETE    admin   -           /api/3.0/mlflow/gateway/endpoints/delete
DELETE    admin   -           /api/3.0/mlflow/gateway/endpoints/delete-tag
GET       viewer  idempotent  /api/3.0/mlflow/gateway/endpoints/get
GET       viewer  idempotent  /api/3.0/mlflow/gateway/endpoints/list
POST      admin   -           /api/3.0/mlflow/gateway/endpoints/models/attach
POST      admin   -           /api/3.0/mlflow/gateway/endpoints/models/detach
POST      admin   idempotent  /api/3.0/mlflow/gateway/endpoints/set-tag
POST      admin   idempotent  /api/3.0/mlflow/gateway/endpoints/update
POST      admin   -           /api/3.0/mlflow/gateway/guardrails/add-to-endpoint
POST      admin   -           /api/3.0/mlflow/gateway/guardrails/create
DELETE    admin   -           /api/3.0/mlflow/gateway/guardrails/delete
GET       viewer  idempotent  /api/3.0/mlflow/gateway/guardrails/get
GET       viewer  idempotent  /api/3.0/mlflow/gateway/guardrails/list
GET       viewer  idempotent  /api/3.0/mlflow/gateway/guardrails/list-for-endpoint
DELETE    admin   -           /api/3.0/mlflow/gateway/guardrails/remove-from-endpoint
PATCH     admin   idempotent  /api/3.0/mlflow/gateway/guardrails/update-config
POST      admin   -           /api/3.0/mlflow/gateway/model-definitions/create
DELETE    admin   -           /api/3.0/mlflow/gateway/model-definitions/delete
GET       viewer  idempotent  /api/3.0/mlflow/gateway/model-definitions/get
GET       viewer  idempotent  /api/3.0/mlflow/gateway/model-definitions/list
POST      admin   idempotent  /api/3.0/mlflow/gateway/model-definitions/update
POST      admin   -           /api/3.0/mlflow/gateway/secrets/create
DELETE    admin   -           /api/3.0/mlflow/gateway/secrets/delete
GET       viewer  idempotent  /api/3.0/mlflow/gateway/secrets/get
GET       viewer  idempotent  /api/3.0/mlflow/gateway/secrets/list
POST      admin   idempotent  /api/3.0/mlflow/gateway/secrets/update
GET       viewer  idempotent  /ajax-api/3.0/mlflow/gateway/provider-config
GET       viewer  idempotent  /ajax-api/3.0/mlflow/gateway/secrets/config
GET       viewer  idempotent  /ajax-api/3.0/mlflow/gateway/supported-models
GET       viewer  idempotent  /ajax-api/3.0/mlflow/gateway/supported-providers

[invocations] long-running
POST      editor  -           /gateway/<endpoint_name>/mlflow/invocations
POST      editor  -           /gateway/anthropic/v1/messages
POST      editor  -           /gateway/gemini/v1beta/models/<endpoint_name>:generateContent
POST      editor  -           /gateway/gemini/v1beta/models/<endpoint_name>:streamGenerateContent
POST      editor  -           /gateway/mlflow/v1/chat/completions
GET       viewer  idempotent  /gateway/mlflow/v1/models
POST      editor  -           /gateway/openai/v1/chat/completions
POST      editor  -           /gateway/openai/v1/embeddings
POST      editor  -           /gateway/openai/v1/responses
POST      editor  -           /gateway/openai/v1/responses/compact
# Forwards any path to the provider's API with the server's key, which permits more than calling a model.
POST      admin   -           /gateway/proxy/<endpoint_name>/<path:path>
POST      editor  -           /gateway/typesafe/v1/systemone
# Forwards to MLFLOW_DEPLOYMENTS_TARGET: MLflow 3 can list and call endpoints, MLflow 2 any path, hence no viewer.
GET,POST  editor  -           /ajax-api/2.0/mlflow/gateway-proxy

[workspaces]
GET       viewer  idempotent  /api/3.0/mlflow/workspaces
POST      admin   -           /api/3.0/mlflow/workspaces
DELETE    admin   -           /api/3.0/mlflow/workspaces/<workspace_name>
GET       viewer  idempotent  /api/3.0/mlflow/workspaces/<workspace_name>
PATCH     admin   idempotent  /api/3.0/mlflow/workspaces/<workspace_name>

# Agents connect to what the endpoints and the latest version of a server name: only admins change these.
# In MLflow's order, which determines the meaning of a name that contains /versions/.
[mcp-servers]
POST      editor  -           /api/3.0/mlflow/mcp-servers
GET       viewer  idempotent  /api/3.0/mlflow/mcp-servers
GET       viewer  idempotent  /api/3.0/mlflow/mcp-servers/endpoints
POST      editor  idempotent  /api/3.0/mlflow/mcp-servers/<path:name>/versions/<path:version>/tags
DELETE    admin   -           /api/3.0/mlflow/mcp-servers/<path:name>/versions/<path:version>/tags/<path:key>
GET       viewer  idempotent  /api/3.0/mlflow/mcp-servers/<path:name>/versions/<path:version>
PATCH     admin   -           /api/3.0/mlflow/mcp-servers/<path:name>/versions/<path:version> # sets a stage
DELETE    admin   -           /api/3.0/mlflow/mcp-servers/<path:name>/versions/<path:version>
POST      admin   -           /api/3.0/mlflow/mcp-servers/<path:name>/versions
GET       viewer  idempotent  /api/3.0/mlflow/mcp-servers/<path:name>/versions
POST      admin   -           /api/3.0/mlflow/mcp-servers/<path:name>/endpoints
GET       viewer  idempotent  /api/3.0/mlflow/mcp-servers/<path:name>/endpoints/<endpoint_id>
PATCH     admin   idempotent  /api/3.0/mlflow/mcp-servers/<path:name>/endpoints/<endpoint_id>
DELETE    admin   -           /api/3.0/mlflow/mcp-servers/<path:name>/endpoints/<endpoint_id>
GET       viewer  idempotent  /api/3.0/mlflow/mcp-servers/<path:name>/endpoints
POST      editor  idempotent  /api/3.0/mlflow/mcp-servers/<path:name>/tags
DELETE    admin   -           /api/3.0/mlflow/mcp-servers/<path:name>/tags/<path:key>
POST      admin   idempotent  /api/3.0/mlflow/mcp-servers/<path:name>/aliases
GET       viewer  idempotent  /api/3.0/mlflow/mcp-servers/<path:name>/aliases/<path:alias>
DELETE    admin   -           /api/3.0/mlflow/mcp-servers/<path:name>/aliases/<path:alias>
GET       viewer  idempotent  /api/3.0/mlflow/mcp-servers/<path:name>
PATCH     editor  idempotent  /api/3.0/mlflow/mcp-servers/<path:name>             # name, description, icons
DELETE    admin   -           /api/3.0/mlflow/mcp-servers/<path:name>

[artifacts] long-running
GET       viewer  idempotent  /get-artifact
GET       viewer  idempotent  /model-versions/get-artifact
GET       viewer  idempotent  /api/2.0/mlflow/logged-models/<model_id>/artifacts/directories
GET       viewer  idempotent  /ajax-api/2.0/mlflow/logged-models/<model_id>/artifacts/files
GET       viewer  idempotent  /ajax-api/2.0/mlflow/get-trace-artifact
GET       viewer  idempotent  /ajax-api/3.0/mlflow/get-trace-artifact
GET       viewer  idempotent  /api/2.0/mlflow/artifacts/list
POST      viewer  idempotent  /api/2.0/mlflow/artifacts/presigned-download-url    # signs and changes nothing
POST      editor  idempotent  /api/2.0/mlflow/artifacts/presigned-upload-url
POST      editor  idempotent  /ajax-api/2.0/mlflow/upload-artifact
GET       viewer  idempotent  /api/2.0/mlflow-artifacts/artifacts
GET       viewer  idempotent  /api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>
PUT       editor  idempotent  /api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>
DELETE    admin   idempotent  /api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>
POST      editor  -           /api/2.0/mlflow-artifacts/mpu/abort/<path:artifact_path> # deletes no artifact
POST      editor  -           /api/2.0/mlflow-artifacts/mpu/complete/<path:artifact_path>
POST      editor  -           /api/2.0/mlflow-artifacts/mpu/create/<path:artifact_path>
GET       viewer  idempotent  /api/2.0/mlflow-artifacts/presigned/<path:artifact_path>

# Its mutations are two searches and an echo; a test fails if MLflow adds another one.
[graphql]
GET,POST  viewer  idempotent  /graphql

# At / the proxy's home page may replace MLflow's.
[server]
GET       viewer  idempotent  /
GET       viewer  idempotent  /api/3.0/mlflow/server-info
GET       viewer  idempotent  /build/<path:filename>
GET       viewer  idempotent  /health
GET       viewer  idempotent  /static-files/<path:path>
GET       viewer  idempotent  /version

# An agent that runs on the server's host; a GET of its stream removes the pending messages.
[assistant] long-running
GET       admin   -           /ajax-api/3.0/mlflow/assistant/config
POST      admin   -           /ajax-api/3.0/mlflow/assistant/message
GET       admin   -           /ajax-api/3.0/mlflow/assistant/providers
GET       admin   -           /ajax-api/3.0/mlflow/assistant/providers/<provider>/health
GET       admin   -           /ajax-api/3.0/mlflow/assistant/providers/<provider>/models
PATCH     admin   -           /ajax-api/3.0/mlflow/assistant/sessions/<session_id>
POST      admin   -           /ajax-api/3.0/mlflow/assistant/sessions/<session_id>/permission
GET       admin   -           /ajax-api/3.0/mlflow/assistant/sessions/<session_id>/stream
POST      admin   -           /ajax-api/3.0/mlflow/assistant/sessions/<session_id>/tool-result
"""

# Routes that MLflow 2.22 and 3.0 serve and newer versions do not.
_REMOVED = """
[traces]
GET       viewer  idempotent  /api/2.0/mlflow/traces/<trace_id>
POST      viewer  idempotent  /api/2.0/mlflow/traces/search
POST      editor  -           /api/2.0/mlflow/traces/<trace_id>/assessments
DELETE    admin   -           /api/2.0/mlflow/traces/<trace_id>/assessments/<assessment_id>
PATCH     editor  idempotent  /api/2.0/mlflow/traces/<trace_id>/assessments/<assessment_id>
"""

# Routes that MLflow 3.17.2 serves and the proxy does not forward, with the reason.
NOT_FORWARDED = {
    "GET /ajax-api/3.0/mlflow/ui-telemetry": "makes the server talk to MLflow's telemetry host",
    "POST /ajax-api/3.0/mlflow/ui-telemetry": "makes the server send telemetry",
    "POST /ajax-api/3.0/mlflow/demo/generate": "fills the server with made-up data; only the UI's tour calls it",
    "POST /ajax-api/3.0/mlflow/demo/delete": "deletes for good what else is deleted softly",
    # MLflow allows these two only from its own host, by the peer's address, which may be the proxy's.
    "PUT /ajax-api/3.0/mlflow/assistant/config": "sets what an agent may do on the server's host",
    "POST /ajax-api/3.0/mlflow/assistant/skills/install": "writes files on the server's host",
}


def _parse(table: str) -> Iterator[Route]:
    group, long_running = "", False
    for line in table.splitlines():
        text = line.partition("#")[0].split()
        if text and text[0].startswith("["):
            group, long_running = text[0].strip("[]"), text[1:] == ["long-running"]
        elif text:
            methods, role, idempotent, path = text
            templates = [path, "/ajax-" + path[1:]] if path.startswith("/api/") else [path]
            for template, method in itertools.product(templates, methods.split(",")):
                yield Route(
                    method,
                    template,
                    group,
                    Role[role.upper()],
                    {"idempotent": True, "-": False}[idempotent],
                    long_running,
                )


CURRENT_ROUTES = tuple(_parse(_CURRENT))
REMOVED_ROUTES = tuple(_parse(_REMOVED))
MLFLOW_ROUTES = (*CURRENT_ROUTES, *REMOVED_ROUTES)
