"""Where MLflow's API has locations of artifacts, in requests and in responses, from its protobuf definitions.

A line contains a path template of ``routing/mlflow_routes.py`` and the paths of its fields: ``a.b`` is a member of an
object, ``[]`` an element of an array. ``[@]`` is the tag of a location in a list of objects with ``key`` and ``value``,
``{@}`` the one in an object by name, and ``@`` the one that is the whole document. A line also holds for the same path
under /ajax-api/. Of GraphQL's responses, a field that the query gives another name (an alias) is not mapped.

Parameters, other tags, sources of datasets, spans and assessments are data of users, which no line names.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .json_editor import Leaf, Paths

# MLflow 3.17.2, and what 2.22 and 3.0 have besides.
_RESPONSES = """
/api/2.0/mlflow/experiments/get                   experiment.artifact_location
/api/2.0/mlflow/experiments/get-by-name           experiment.artifact_location
/api/2.0/mlflow/experiments/search                experiments[].artifact_location

/api/2.0/mlflow/runs/create                       run.info.artifact_uri
/ajax-api/2.0/mlflow/runs/create-promptlab-run    run.info.artifact_uri
/api/2.0/mlflow/runs/get                          run.info.artifact_uri
/api/2.0/mlflow/runs/search                       runs[].info.artifact_uri
/api/2.0/mlflow/runs/update                       run_info.artifact_uri
/api/2.0/mlflow/artifacts/list                    root_uri

/api/2.0/mlflow/logged-models                     model.info.artifact_uri
/api/2.0/mlflow/logged-models/<model_id>          model.info.artifact_uri
/api/2.0/mlflow/logged-models/<model_id>/tags     model.info.artifact_uri
/api/2.0/mlflow/logged-models/search              models[].info.artifact_uri
/api/2.0/mlflow/logged-models/<model_id>/artifacts/directories  root_uri

/api/2.0/mlflow/registered-models/alias           model_version.source
/api/2.0/mlflow/registered-models/create          registered_model.latest_versions[].source
/api/2.0/mlflow/registered-models/get             registered_model.latest_versions[].source
/api/2.0/mlflow/registered-models/get-latest-versions  model_versions[].source
/api/2.0/mlflow/registered-models/rename          registered_model.latest_versions[].source
/api/2.0/mlflow/registered-models/search          registered_models[].latest_versions[].source
/api/2.0/mlflow/registered-models/update          registered_model.latest_versions[].source
/api/2.0/mlflow/model-versions/create             model_version.source
/api/2.0/mlflow/model-versions/get                model_version.source
/api/2.0/mlflow/model-versions/get-download-uri   artifact_uri
/api/2.0/mlflow/model-versions/search             model_versions[].source
/api/2.0/mlflow/model-versions/transition-stage   model_version.source
/api/2.0/mlflow/model-versions/update             model_version.source

/api/2.0/mlflow/traces                            trace_info.tags[@] traces[].tags[@]
/api/2.0/mlflow/traces/<request_id>               trace_info.tags[@]
/api/2.0/mlflow/traces/<request_id>/info          trace_info.tags[@]
/api/2.0/mlflow/traces/<trace_id>                 trace.trace_info.tags{@}
/api/2.0/mlflow/traces/search                     traces[].tags{@}
/api/2.0/mlflow/unified-traces                    traces[].tags[@]
/api/3.0/mlflow/traces                            trace.trace_info.tags{@}
/api/3.0/mlflow/traces/<trace_id>                 trace.trace_info.tags{@}
/api/3.0/mlflow/traces/batchGet                   traces[].trace_info.tags{@}
/api/3.0/mlflow/traces/batchGetInfos              trace_infos[].tags{@}
/api/3.0/mlflow/traces/get                        trace.trace_info.tags{@}
/api/3.0/mlflow/traces/search                     traces[].tags{@}

/api/3.0/mlflow/workspaces  workspaces[].default_artifact_root workspaces[].trace_archival_config.location \
    workspace.default_artifact_root workspace.trace_archival_config.location
/api/3.0/mlflow/workspaces/<workspace_name>  workspace.default_artifact_root workspace.trace_archival_config.location

/graphql  data.mlflowGetExperiment.experiment.artifactLocation data.mlflowGetRun.run.info.artifactUri \
    data.mlflowGetRun.run.experiment.artifactLocation data.mlflowGetRun.run.modelVersions[].source \
    data.mlflowListArtifacts.rootUri data.mlflowSearchModelVersions.modelVersions[].source \
    data.mlflowSearchRuns.runs[].info.artifactUri data.mlflowSearchRuns.runs[].experiment.artifactLocation \
    data.mlflowSearchRuns.runs[].modelVersions[].source
"""

_REQUESTS = """
/api/2.0/mlflow/experiments/create                artifact_location
/api/2.0/mlflow/model-versions/create             source
/api/2.0/mlflow/traces                            tags[@]
/api/2.0/mlflow/traces/<request_id>               tags[@]
/api/2.0/mlflow/traces/<request_id>/tags          @
/api/3.0/mlflow/traces                            trace.trace_info.tags{@}
/api/3.0/mlflow/traces/<trace_id>/tags            @
/api/3.0/mlflow/workspaces                        default_artifact_root trace_archival_config.location
/api/3.0/mlflow/workspaces/<workspace_name>       default_artifact_root trace_archival_config.location
"""

# Filters of searches, in the body of a POST and in the query of a GET.
_FILTERS = """
/api/2.0/mlflow/model-versions/search             filter
/api/2.0/mlflow/runs/search                       filter
/api/2.0/mlflow/traces                            filter
/api/2.0/mlflow/traces/search                     filter
/api/2.0/mlflow/unified-traces                    filter
/api/3.0/mlflow/traces/calculate-filter-correlation  filter_string1 filter_string2 base_filter
/api/3.0/mlflow/traces/search                     filter
"""

LOCATION_TAGS = frozenset({"mlflow.artifactLocation", "mlflow.trace.archiveLocation"})

_Tree = dict[bytes | None, Any]


def _parse(table: str, *, camel_case: bool = False) -> Mapping[str, Paths]:
    """The paths by template. ``camel_case``: also the other form of names that protobuf's JSON parser accepts."""
    trees: dict[str, _Tree] = {}
    for line in table.replace("\\\n", " ").splitlines():
        template, *fields = line.split() or [""]
        for field in fields:
            tree = trees.setdefault(template, {})
            if template.startswith("/api/"):
                trees["/ajax-" + template[1:]] = tree
            for text in {field, re.sub(r"_([a-z])", lambda found: found[1].upper(), field)} if camel_case else {field}:
                for keys, leaf in _leaves(text):
                    node = tree
                    for key in keys[:-1]:
                        node = node.setdefault(key, {})
                    node[keys[-1]] = leaf
    return trees


def _leaves(field: str) -> Iterator[tuple[list[bytes | None], Leaf]]:
    path, tag, _ = field.partition("@")
    keys = [None if step == "[" else step.encode() for step in re.findall(r"\w+|\[", path)]
    if not tag:
        yield keys, Leaf.LOCATION
    elif path.endswith("{"):
        for name in LOCATION_TAGS:
            yield [*keys, name.encode()], Leaf.LOCATION
    else:
        yield [*keys, b"key"], Leaf.TAG_NAME
        yield [*keys, b"value"], Leaf.TAG_LOCATION


RESPONSES = _parse(_RESPONSES)
REQUESTS = _parse(_REQUESTS, camel_case=True)
FILTERS = _parse(_FILTERS, camel_case=True)
