"""ArtifactRoot: locations inside the root are mapped and mapped back, and no other string changes."""

import importlib
from typing import Any
from urllib.parse import urlparse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy_app.artifacts.root import ArtifactRoot

ROOT = ArtifactRoot("bucket", "team/mlflow")
ROOTS = st.sampled_from([ROOT, ArtifactRoot("bucket", "")])
PATHS = st.lists(
    st.sampled_from(["/", ".", "..", "%2e", "%252E", "\\", "a", "ü", "?", "#", " ", "%", "+", ":", "\0", "-other"])
    | st.characters(exclude_categories=["Cs"])
).map("".join)
STARTS = st.sampled_from(
    ["s3://bucket", "s3://bucket/", "s3://bucket/team/mlflow", "s3://bucket/team/mlflow/", "mlflow-artifacts:/", ""]
)
LOCATIONS = st.builds(str.__add__, STARTS, PATHS)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("s3://bucket/team/mlflow", "mlflow-artifacts:/"),
        ("s3://bucket/team/mlflow/", "mlflow-artifacts:///"),
        ("s3://bucket/team/mlflow/0", "mlflow-artifacts:/0"),
        ("s3://bucket/team/mlflow/0/run/artifacts/", "mlflow-artifacts:/0/run/artifacts/"),
        ("s3://bucket/team/mlflow/a//b", "mlflow-artifacts:/a//b"),
        ("s3://bucket/team/mlflow/ü x+%20#?\\", "mlflow-artifacts:/ü x+%20#?\\"),
        ("s3://bucket/team/mlflow/...", "mlflow-artifacts:/..."),
    ],
)
def test_location_inside_the_root_is_mapped_both_ways(stored: str, shown: str) -> None:
    assert ROOT.to_client(stored) == shown
    assert ROOT.to_storage(shown) == stored


@pytest.mark.parametrize(
    "location",
    [
        "",
        "s3://bucket",
        "s3://bucket/team",
        "s3://bucket/team/mlflow-other/x",
        "s3://bucket/team/mlflow?x",
        "s3://bucket2/team/mlflow/x",
        "S3://bucket/team/mlflow/x",
        " s3://bucket/team/mlflow/x",
        "s3://bucket/team/mlflow//host/x",
        "s3://bucket/team/mlflow/../x",
        "s3://bucket/team/mlflow/a/..",
        "s3://bucket/team/mlflow/./x",
        "s3://bucket/team/mlflow/%2e%2e/x",
        "s3://bucket/team/mlflow/%252e./x",
        "s3://bucket/team/mlflow/a\\..\\x",
        "s3://bucket/team/mlflow/a%2f..%2fx",
        "mlflow-artifacts:",
        "mlflow-artifacts:x",
        "mlflow-artifacts://host/x",
        "mlflow-artifacts:/../x",
        "mlflow-artifacts:/a/%2E%2e/x",
        "runs:/run/model",
        "models:/m-1",
        "dbfs:/x",
    ],
)
def test_any_other_string_is_unchanged(location: str) -> None:
    assert ROOT.to_client(location) == location
    assert ROOT.to_storage(location) == location


@given(root=ROOTS, stored=LOCATIONS)
def test_stored_location_survives_the_way_to_the_client_and_back(root: ArtifactRoot, stored: str) -> None:
    if not stored.startswith("mlflow-artifacts:"):
        assert root.to_storage(root.to_client(stored)) == stored


@given(root=ROOTS, shown=LOCATIONS)
def test_location_of_a_client_survives_the_way_to_the_storage_and_back(root: ArtifactRoot, shown: str) -> None:
    if root.path(shown) is None:
        assert root.to_client(root.to_storage(shown)) == shown


@given(root=ROOTS, location=LOCATIONS)
@example(root=ROOT, location="mlflow-artifacts:/..%252fother")
def test_mapped_location_stays_below_the_root_and_at_the_tracking_server(root: ArtifactRoot, location: str) -> None:
    stored = root.to_storage(location)
    if stored != location:
        assert stored == root.uri or stored.startswith(root.uri + "/")
        assert root.path(stored) is not None
    shown = root.to_client(location)
    if shown != location:
        artifacts: Any = importlib.import_module(
            "mlflow.store.artifact.mlflow_artifacts_repo"
        ).MlflowArtifactsRepository
        resolved = urlparse(str(artifacts.resolve_uri(shown, "http://proxy:8080")))
        assert resolved.netloc == "proxy:8080"
        assert resolved.path.startswith("/api/2.0/mlflow-artifacts/artifacts")


@pytest.mark.parametrize(
    ("text", "bucket", "prefix", "uri"),
    [
        ("s3://bucket", "bucket", "", "s3://bucket"),
        ("s3://bucket/", "bucket", "", "s3://bucket"),
        ("s3://my.bucket-1/a/b c/", "my.bucket-1", "a/b c", "s3://my.bucket-1/a/b c"),
    ],
)
def test_root_is_parsed(text: str, bucket: str, prefix: str, uri: str) -> None:
    root = ArtifactRoot.parse(text)
    assert (root.bucket, root.prefix, root.uri) == (bucket, prefix, uri)


@pytest.mark.parametrize(
    "text",
    [
        "bucket/prefix",
        "gs://bucket/prefix",
        "s3://",
        "s3:///prefix",
        "s3://Bucket/prefix",
        "s3://b/prefix",
        "s3://bucket//prefix",
        "s3://bucket/a//b",
        "s3://bucket/prefix//",
        "s3://bucket/..",
        "s3://bucket/a/%2e%2e/b",
        "s3://bucket/a?b",
        "s3://bucket/a#b",
        "s3://bucket/a\\b",
        "s3://bucket/a\nb",
        "s3://bucket/a'b",
    ],
)
def test_text_that_is_no_root_raises_the_expected_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"^s3://bucket or s3://bucket/prefix, such as s3://team-artifacts/mlflow$"):
        ArtifactRoot.parse(text)
