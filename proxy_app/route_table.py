"""Every route of MLflow's that the proxy knows: the one place to edit for a new version of MLflow.

A line holds method, role, whether the request may be sent `again` after a lost answer or only `once`, and the path.
A path under /api/ stands for its twin under /ajax-api/ too, which MLflow's UI calls. Methods, paths and parameters are
those of mlflow.server (Flask) and of its FastAPI routers; HEAD follows GET. The rules:

- viewer: what changes nothing, also when it is a POST.
- editor: what writes tracking data, and what makes the server call a model at the owner's expense.
- admin: what deletes, moves a model's stage or alias, or reaches beyond tracking data.
- once: what makes a second thing, or fails, when it comes a second time; also where that is not certain.

A `<path:x>` parameter takes what is left of the path, slashes included. Within a family, lines with one are tried from
top to bottom. MLflow's basic-auth app adds routes for users and permissions: the proxy knows none of them.
"""

# MLflow 3.17.2; 2.16 to 3.10 have nothing else but what is in OLDER.
TABLE = """
[experiments]
POST      editor  once   /api/2.0/mlflow/experiments/create
POST      admin   once   /api/2.0/mlflow/experiments/delete
POST      admin   once   /api/2.0/mlflow/experiments/delete-experiment-tag
GET       viewer  again  /api/2.0/mlflow/experiments/get
GET       viewer  again  /api/2.0/mlflow/experiments/get-by-name
POST      editor  once   /api/2.0/mlflow/experiments/restore                 # finds deleted ones only
GET,POST  viewer  again  /api/2.0/mlflow/experiments/search
POST      editor  again  /api/2.0/mlflow/experiments/set-experiment-tag
POST      editor  again  /api/2.0/mlflow/experiments/update
POST      viewer  again  /api/2.0mlflow/experiments/search-datasets          # MLflow forgot the slash
POST      viewer  again  /ajax-api/2.0/mlflow/experiments/search-datasets

[runs]
POST      editor  once   /api/2.0/mlflow/runs/create
POST      editor  once   /ajax-api/2.0/mlflow/runs/create-promptlab-run
POST      admin   again  /api/2.0/mlflow/runs/delete                         # only sets the deleted mark
POST      admin   once   /api/2.0/mlflow/runs/delete-tag
GET       viewer  again  /api/2.0/mlflow/runs/get
POST      editor  again  /api/2.0/mlflow/runs/log-batch                      # drops metrics that it has
POST      editor  again  /api/2.0/mlflow/runs/log-inputs
POST      editor  again  /api/2.0/mlflow/runs/log-metric
POST      editor  once   /api/2.0/mlflow/runs/log-model                      # appends to a list
POST      editor  again  /api/2.0/mlflow/runs/log-parameter
POST      editor  once   /api/2.0/mlflow/runs/outputs
POST      editor  again  /api/2.0/mlflow/runs/restore
POST      viewer  again  /api/2.0/mlflow/runs/search
POST      editor  again  /api/2.0/mlflow/runs/set-tag
POST      editor  again  /api/2.0/mlflow/runs/update                         # name, status, end: cannot delete

[metrics]
GET       viewer  again  /api/2.0/mlflow/metrics/get-history
GET       viewer  again  /ajax-api/2.0/mlflow/metrics/get-history-bulk
GET       viewer  again  /api/2.0/mlflow/metrics/get-history-bulk-interval

[registered-models]
DELETE    admin   once   /api/2.0/mlflow/registered-models/alias
GET       viewer  again  /api/2.0/mlflow/registered-models/alias
POST      admin   again  /api/2.0/mlflow/registered-models/alias
POST      editor  once   /api/2.0/mlflow/registered-models/create
DELETE    admin   once   /api/2.0/mlflow/registered-models/delete
DELETE    admin   once   /api/2.0/mlflow/registered-models/delete-tag
GET       viewer  again  /api/2.0/mlflow/registered-models/get
GET,POST  viewer  again  /api/2.0/mlflow/registered-models/get-latest-versions
POST      editor  once   /api/2.0/mlflow/registered-models/rename            # the old name is gone
GET       viewer  again  /api/2.0/mlflow/registered-models/search
POST      editor  again  /api/2.0/mlflow/registered-models/set-tag
PATCH     editor  again  /api/2.0/mlflow/registered-models/update

[model-versions]
POST      editor  once   /api/2.0/mlflow/model-versions/create
DELETE    admin   once   /api/2.0/mlflow/model-versions/delete
DELETE    admin   once   /api/2.0/mlflow/model-versions/delete-tag
GET       viewer  again  /api/2.0/mlflow/model-versions/get
GET       viewer  again  /api/2.0/mlflow/model-versions/get-download-uri
GET       viewer  again  /api/2.0/mlflow/model-versions/search
POST      editor  again  /api/2.0/mlflow/model-versions/set-tag
POST      admin   again  /api/2.0/mlflow/model-versions/transition-stage
PATCH     editor  again  /api/2.0/mlflow/model-versions/update               # the description only

[logged-models]
POST      editor  once   /api/2.0/mlflow/logged-models
DELETE    admin   again  /api/2.0/mlflow/logged-models/<model_id>            # only sets the deleted mark
GET       viewer  again  /api/2.0/mlflow/logged-models/<model_id>
PATCH     editor  again  /api/2.0/mlflow/logged-models/<model_id>
GET       viewer  again  /api/2.0/mlflow/logged-models/<model_id>/artifacts/directories
GET       viewer  again  /ajax-api/2.0/mlflow/logged-models/<model_id>/artifacts/files
POST      editor  once   /api/2.0/mlflow/logged-models/<model_id>/params     # refuses those that it has
PATCH     editor  again  /api/2.0/mlflow/logged-models/<model_id>/tags
DELETE    admin   once   /api/2.0/mlflow/logged-models/<model_id>/tags/<tag_key>
POST      viewer  again  /api/2.0/mlflow/logged-models/search

# A webhook's URL is often a secret in itself, so reading takes an admin too, as in MLflow's own basic-auth.
[webhooks]
GET       admin   again  /api/2.0/mlflow/webhooks
POST      admin   once   /api/2.0/mlflow/webhooks
DELETE    admin   once   /api/2.0/mlflow/webhooks/<webhook_id>
GET       admin   again  /api/2.0/mlflow/webhooks/<webhook_id>
PATCH     admin   again  /api/2.0/mlflow/webhooks/<webhook_id>
POST      admin   once   /api/2.0/mlflow/webhooks/<webhook_id>/test

[traces]
GET       viewer  again  /api/2.0/mlflow/traces
POST      editor  once   /api/2.0/mlflow/traces                              # the server picks the id
PATCH     editor  again  /api/2.0/mlflow/traces/<request_id>
GET       viewer  again  /api/2.0/mlflow/traces/<request_id>/info
DELETE    admin   once   /api/2.0/mlflow/traces/<request_id>/tags
PATCH     editor  again  /api/2.0/mlflow/traces/<request_id>/tags
POST      admin   once   /api/2.0/mlflow/traces/delete-traces                # max_traces: it would delete as many more
POST      editor  again  /api/2.0/mlflow/traces/link-prompts
POST      editor  again  /api/2.0/mlflow/traces/link-to-run
GET       viewer  again  /api/2.0/mlflow/get-online-trace-details
GET       viewer  again  /api/2.0/mlflow/unified-traces
GET       viewer  again  /ajax-api/2.0/mlflow/get-trace-artifact
GET       viewer  again  /ajax-api/3.0/mlflow/get-trace-artifact
POST      editor  again  /api/3.0/mlflow/traces                              # the client picks the id
GET       viewer  again  /api/3.0/mlflow/traces/<trace_id>
POST      editor  once   /api/3.0/mlflow/traces/<trace_id>/assessments
DELETE    admin   once   /api/3.0/mlflow/traces/<trace_id>/assessments/<assessment_id>
GET       viewer  again  /api/3.0/mlflow/traces/<trace_id>/assessments/<assessment_id>
PATCH     editor  again  /api/3.0/mlflow/traces/<trace_id>/assessments/<assessment_id>
DELETE    admin   once   /api/3.0/mlflow/traces/<trace_id>/tags
PATCH     editor  again  /api/3.0/mlflow/traces/<trace_id>/tags
GET       viewer  again  /api/3.0/mlflow/traces/batchGet
POST      viewer  again  /api/3.0/mlflow/traces/batchGetInfos
POST      viewer  again  /api/3.0/mlflow/traces/calculate-filter-correlation
POST      admin   once   /api/3.0/mlflow/traces/delete-traces
GET       viewer  again  /api/3.0/mlflow/traces/get
POST      viewer  again  /api/3.0/mlflow/traces/metrics
POST      viewer  again  /api/3.0/mlflow/traces/search

[otlp]
POST      editor  once   /v1/traces

[datasets]
DELETE    admin   once   /api/3.0/mlflow/datasets/<dataset_id>
GET       viewer  again  /api/3.0/mlflow/datasets/<dataset_id>
POST      editor  again  /api/3.0/mlflow/datasets/<dataset_id>/add-experiments
GET       viewer  again  /api/3.0/mlflow/datasets/<dataset_id>/experiment-ids
DELETE    admin   once   /api/3.0/mlflow/datasets/<dataset_id>/records
GET       viewer  again  /api/3.0/mlflow/datasets/<dataset_id>/records
POST      editor  once   /api/3.0/mlflow/datasets/<dataset_id>/records       # the counts in its answer would change
POST      admin   again  /api/3.0/mlflow/datasets/<dataset_id>/remove-experiments
PATCH     editor  again  /api/3.0/mlflow/datasets/<dataset_id>/tags
DELETE    admin   once   /api/3.0/mlflow/datasets/<dataset_id>/tags/<key>
POST      editor  once   /api/3.0/mlflow/datasets/create
GET,POST  viewer  again  /api/3.0/mlflow/datasets/search

[scorers]
DELETE    admin   once   /api/3.0/mlflow/scorers/delete
GET       viewer  again  /api/3.0/mlflow/scorers/get
GET       viewer  again  /api/3.0/mlflow/scorers/list
PUT       editor  again  /api/3.0/mlflow/scorers/online-config
GET       viewer  again  /api/3.0/mlflow/scorers/online-configs
POST      editor  once   /api/3.0/mlflow/scorers/register                    # a new version each time
GET       viewer  again  /api/3.0/mlflow/scorers/versions
POST      editor  once   /ajax-api/3.0/mlflow/scorer/invoke                  # starts jobs

[issues]
POST      editor  once   /api/3.0/mlflow/issues
GET       viewer  again  /api/3.0/mlflow/issues/<issue_id>
PATCH     editor  again  /api/3.0/mlflow/issues/<issue_id>
POST      editor  once   /ajax-api/3.0/mlflow/issues/invoke                  # starts a job
POST      viewer  again  /api/3.0/mlflow/issues/search

[label-schemas]
POST      editor  once   /api/3.0/mlflow/label-schemas/create
DELETE    admin   once   /api/3.0/mlflow/label-schemas/delete
GET       viewer  again  /api/3.0/mlflow/label-schemas/get
GET       viewer  again  /api/3.0/mlflow/label-schemas/get-by-name
GET       viewer  again  /api/3.0/mlflow/label-schemas/list
PATCH     editor  again  /api/3.0/mlflow/label-schemas/update

[review-queues]
POST      editor  once   /api/3.0/mlflow/review-queues/create
POST      admin   once   /api/3.0/mlflow/review-queues/delete
GET       viewer  again  /api/3.0/mlflow/review-queues/get
GET       viewer  again  /api/3.0/mlflow/review-queues/get-by-name
POST      editor  again  /api/3.0/mlflow/review-queues/get-or-create-user    # may create
POST      editor  again  /api/3.0/mlflow/review-queues/items/add             # leaves those that it has
GET       viewer  again  /api/3.0/mlflow/review-queues/items/list
POST      admin   again  /api/3.0/mlflow/review-queues/items/remove
POST      editor  again  /api/3.0/mlflow/review-queues/items/set-status
GET       viewer  again  /api/3.0/mlflow/review-queues/list
POST      editor  again  /api/3.0/mlflow/review-queues/update

# A job cannot be cancelled twice.
[prompt-optimization]
POST      editor  once   /api/3.0/mlflow/prompt-optimization/jobs
DELETE    admin   once   /api/3.0/mlflow/prompt-optimization/jobs/<job_id>
GET       viewer  again  /api/3.0/mlflow/prompt-optimization/jobs/<job_id>
POST      editor  once   /api/3.0/mlflow/prompt-optimization/jobs/<job_id>/cancel
GET,POST  viewer  again  /api/3.0/mlflow/prompt-optimization/jobs/search

[jobs]
POST      editor  once   /ajax-api/3.0/jobs/
GET       viewer  again  /ajax-api/3.0/jobs/<job_id>
PATCH     editor  once   /ajax-api/3.0/jobs/cancel/<job_id>
POST      viewer  again  /ajax-api/3.0/jobs/search
GET       viewer  again  /ajax-api/3.0/mlflow/jobs/<job_id>
PATCH     editor  once   /ajax-api/3.0/mlflow/jobs/cancel/<job_id>
POST      editor  once   /ajax-api/3.0/mlflow/genai/evaluate/invoke

# The AI gateway's own set-up: provider keys, money and what may be said. Reading a secret shows it masked.
[gateway]
POST      admin   once   /api/3.0/mlflow/gateway/budgets/create
DELETE    admin   once   /api/3.0/mlflow/gateway/budgets/delete
GET       viewer  again  /api/3.0/mlflow/gateway/budgets/get
GET       viewer  again  /api/3.0/mlflow/gateway/budgets/list
POST      admin   again  /api/3.0/mlflow/gateway/budgets/update
GET       viewer  again  /api/3.0/mlflow/gateway/budgets/windows
POST      admin   once   /api/3.0/mlflow/gateway/endpoints/bindings/create
DELETE    admin   once   /api/3.0/mlflow/gateway/endpoints/bindings/delete
GET       viewer  again  /api/3.0/mlflow/gateway/endpoints/bindings/list
POST      admin   once   /api/3.0/mlflow/gateway/endpoints/create
DELETE    admin   once   /api/3.0/mlflow/gateway/endpoints/delete
DELETE    admin   once   /api/3.0/mlflow/gateway/endpoints/delete-tag
GET       viewer  again  /api/3.0/mlflow/gateway/endpoints/get
GET       viewer  again  /api/3.0/mlflow/gateway/endpoints/list
POST      admin   once   /api/3.0/mlflow/gateway/endpoints/models/attach
POST      admin   once   /api/3.0/mlflow/gateway/endpoints/models/detach
POST      admin   again  /api/3.0/mlflow/gateway/endpoints/set-tag
POST      admin   again  /api/3.0/mlflow/gateway/endpoints/update
POST      admin   once   /api/3.0/mlflow/gateway/guardrails/add-to-endpoint
POST      admin   once   /api/3.0/mlflow/gateway/guardrails/create
DELETE    admin   once   /api/3.0/mlflow/gateway/guardrails/delete
GET       viewer  again  /api/3.0/mlflow/gateway/guardrails/get
GET       viewer  again  /api/3.0/mlflow/gateway/guardrails/list
GET       viewer  again  /api/3.0/mlflow/gateway/guardrails/list-for-endpoint
DELETE    admin   once   /api/3.0/mlflow/gateway/guardrails/remove-from-endpoint
PATCH     admin   again  /api/3.0/mlflow/gateway/guardrails/update-config
POST      admin   once   /api/3.0/mlflow/gateway/model-definitions/create
DELETE    admin   once   /api/3.0/mlflow/gateway/model-definitions/delete
GET       viewer  again  /api/3.0/mlflow/gateway/model-definitions/get
GET       viewer  again  /api/3.0/mlflow/gateway/model-definitions/list
POST      admin   again  /api/3.0/mlflow/gateway/model-definitions/update
POST      admin   once   /api/3.0/mlflow/gateway/secrets/create
DELETE    admin   once   /api/3.0/mlflow/gateway/secrets/delete
GET       viewer  again  /api/3.0/mlflow/gateway/secrets/get
GET       viewer  again  /api/3.0/mlflow/gateway/secrets/list
POST      admin   again  /api/3.0/mlflow/gateway/secrets/update
GET       viewer  again  /ajax-api/3.0/mlflow/gateway/provider-config
GET       viewer  again  /ajax-api/3.0/mlflow/gateway/secrets/config
GET       viewer  again  /ajax-api/3.0/mlflow/gateway/supported-models
GET       viewer  again  /ajax-api/3.0/mlflow/gateway/supported-providers

[invocations]
POST      editor  once   /gateway/<endpoint_name>/mlflow/invocations
POST      editor  once   /gateway/anthropic/v1/messages
POST      editor  once   /gateway/gemini/v1beta/models/<endpoint_name>:generateContent
POST      editor  once   /gateway/gemini/v1beta/models/<endpoint_name>:streamGenerateContent
POST      editor  once   /gateway/mlflow/v1/chat/completions
GET       viewer  again  /gateway/mlflow/v1/models
POST      editor  once   /gateway/openai/v1/chat/completions
POST      editor  once   /gateway/openai/v1/embeddings
POST      editor  once   /gateway/openai/v1/responses
POST      editor  once   /gateway/openai/v1/responses/compact
# Any path of the provider's API, with the key that the server keeps for it: more than calling a model.
POST      admin   once   /gateway/proxy/<endpoint_name>/<path:path>
POST      editor  once   /gateway/typesafe/v1/systemone
# Relays to MLFLOW_DEPLOYMENTS_TARGET alone; MLflow 3 lets it list endpoints and call them, 2 any path, hence no viewer.
GET,POST  editor  once   /ajax-api/2.0/mlflow/gateway-proxy

[workspaces]
GET       viewer  again  /api/3.0/mlflow/workspaces
POST      admin   once   /api/3.0/mlflow/workspaces
DELETE    admin   once   /api/3.0/mlflow/workspaces/<workspace_name>
GET       viewer  again  /api/3.0/mlflow/workspaces/<workspace_name>
PATCH     admin   again  /api/3.0/mlflow/workspaces/<workspace_name>

# The order is MLflow's: it decides what a name with /versions/ in it means.
[mcp-servers]
POST      editor  once   /api/3.0/mlflow/mcp-servers
GET       viewer  again  /api/3.0/mlflow/mcp-servers
GET       viewer  again  /api/3.0/mlflow/mcp-servers/endpoints
POST      editor  again  /api/3.0/mlflow/mcp-servers/<path:name>/versions/<path:version>/tags
DELETE    admin   once   /api/3.0/mlflow/mcp-servers/<path:name>/versions/<path:version>/tags/<path:key>
GET       viewer  again  /api/3.0/mlflow/mcp-servers/<path:name>/versions/<path:version>
PATCH     admin   once   /api/3.0/mlflow/mcp-servers/<path:name>/versions/<path:version>  # sets a stage, deleted too
DELETE    admin   once   /api/3.0/mlflow/mcp-servers/<path:name>/versions/<path:version>
POST      editor  once   /api/3.0/mlflow/mcp-servers/<path:name>/versions
GET       viewer  again  /api/3.0/mlflow/mcp-servers/<path:name>/versions
POST      editor  once   /api/3.0/mlflow/mcp-servers/<path:name>/endpoints
GET       viewer  again  /api/3.0/mlflow/mcp-servers/<path:name>/endpoints/<endpoint_id>
PATCH     editor  again  /api/3.0/mlflow/mcp-servers/<path:name>/endpoints/<endpoint_id>
DELETE    admin   once   /api/3.0/mlflow/mcp-servers/<path:name>/endpoints/<endpoint_id>
GET       viewer  again  /api/3.0/mlflow/mcp-servers/<path:name>/endpoints
POST      editor  again  /api/3.0/mlflow/mcp-servers/<path:name>/tags
DELETE    admin   once   /api/3.0/mlflow/mcp-servers/<path:name>/tags/<path:key>
POST      admin   again  /api/3.0/mlflow/mcp-servers/<path:name>/aliases
GET       viewer  again  /api/3.0/mlflow/mcp-servers/<path:name>/aliases/<path:alias>
DELETE    admin   once   /api/3.0/mlflow/mcp-servers/<path:name>/aliases/<path:alias>
GET       viewer  again  /api/3.0/mlflow/mcp-servers/<path:name>
PATCH     editor  again  /api/3.0/mlflow/mcp-servers/<path:name>             # name, description, icons
DELETE    admin   once   /api/3.0/mlflow/mcp-servers/<path:name>

[artifacts]
GET       viewer  again  /get-artifact
GET       viewer  again  /model-versions/get-artifact
GET       viewer  again  /api/2.0/mlflow/artifacts/list
POST      viewer  again  /api/2.0/mlflow/artifacts/presigned-download-url    # signs and changes nothing
POST      editor  again  /api/2.0/mlflow/artifacts/presigned-upload-url
POST      editor  again  /ajax-api/2.0/mlflow/upload-artifact
GET       viewer  again  /api/2.0/mlflow-artifacts/artifacts
GET       viewer  again  /api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>
PUT       editor  again  /api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>
DELETE    admin   again  /api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>
POST      editor  once   /api/2.0/mlflow-artifacts/mpu/abort/<path:artifact_path>  # ends an upload, deletes no artifact
POST      editor  once   /api/2.0/mlflow-artifacts/mpu/complete/<path:artifact_path>
POST      editor  once   /api/2.0/mlflow-artifacts/mpu/create/<path:artifact_path>
GET       viewer  again  /api/2.0/mlflow-artifacts/presigned/<path:artifact_path>

# Its mutations are two searches and an echo; a test fails when MLflow adds one.
[graphql]
GET,POST  viewer  again  /graphql

# The proxy's own page goes before MLflow's at /.
[server]
GET       viewer  again  /
GET       viewer  again  /api/3.0/mlflow/server-info
GET       viewer  again  /build/<path:filename>
GET       viewer  again  /health
GET       viewer  again  /static-files/<path:path>
GET       viewer  again  /version

# An agent that works on the server's host; a GET of its stream takes what is pending.
[assistant]
GET       admin   once   /ajax-api/3.0/mlflow/assistant/config
POST      admin   once   /ajax-api/3.0/mlflow/assistant/message
GET       admin   once   /ajax-api/3.0/mlflow/assistant/providers
GET       admin   once   /ajax-api/3.0/mlflow/assistant/providers/<provider>/health
GET       admin   once   /ajax-api/3.0/mlflow/assistant/providers/<provider>/models
PATCH     admin   once   /ajax-api/3.0/mlflow/assistant/sessions/<session_id>
POST      admin   once   /ajax-api/3.0/mlflow/assistant/sessions/<session_id>/permission
GET       admin   once   /ajax-api/3.0/mlflow/assistant/sessions/<session_id>/stream
POST      admin   once   /ajax-api/3.0/mlflow/assistant/sessions/<session_id>/tool-result
"""

# What newer versions no longer serve: MLflow 2.22 and 3.0 have these.
OLDER = """
[traces]
GET       viewer  again  /api/2.0/mlflow/traces/<trace_id>
POST      viewer  again  /api/2.0/mlflow/traces/search
POST      editor  once   /api/2.0/mlflow/traces/<trace_id>/assessments
DELETE    admin   once   /api/2.0/mlflow/traces/<trace_id>/assessments/<assessment_id>
PATCH     editor  again  /api/2.0/mlflow/traces/<trace_id>/assessments/<assessment_id>
"""

# What MLflow 3.17.2 serves and the proxy never forwards, and why.
REFUSED = {
    "GET /ajax-api/3.0/mlflow/ui-telemetry": "makes the server talk to MLflow's telemetry host",
    "POST /ajax-api/3.0/mlflow/ui-telemetry": "makes the server send telemetry",
    "POST /ajax-api/3.0/mlflow/demo/generate": "fills the server with made-up data; only the UI's tour asks for it",
    "POST /ajax-api/3.0/mlflow/demo/delete": "deletes for good what else is deleted softly",
    # MLflow allows these two from its own host alone, but judges by the peer's address, which may be the proxy's.
    "PUT /ajax-api/3.0/mlflow/assistant/config": "sets what an agent may do on the server's host",
    "POST /ajax-api/3.0/mlflow/assistant/skills/install": "writes files on the server's host",
}
