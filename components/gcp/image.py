"""MLflow's container image: built here and pushed to an Artifact Registry repository, or an existing image by digest.

The machine that runs the program needs Docker with BuildKit. Out of scope: permissions to pull an existing image from
outside of this project's Artifact Registry.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

import pulumi
import pulumi_docker_build as docker_build
from pulumi_gcp import artifactregistry, organizations

from ..built_image import Build, Registry, built_image
from .deployment import Deployment
from .settings import ImageSettings

# The repository's root: the image contains two of its folders, which .dockerignore selects.
_CONTEXT = Path(__file__).resolve().parents[2]
_DOCKERFILE = "mlflow_app/Dockerfile"
# https://cloud.google.com/artifact-registry/docs/docker/names
_REFERENCE = re.compile(r"(?P<location>[a-z0-9-]+)-docker\.pkg\.dev/(?P<project>[^/]+)/(?P<repository>[^/]+)/.+")


class ImageRepository(NamedTuple):
    """An Artifact Registry repository of this project."""

    location: pulumi.Input[str]
    repository: pulumi.Input[str]


class Image(pulumi.ComponentResource):
    """The image of MLflow's instances."""

    image_uri: pulumi.Output[str]
    """The image by digest."""
    repository: artifactregistry.Repository | None
    """The repository created here; None for an existing image."""
    source_repository: ImageRepository | None
    """The repository to grant access to; None for an image outside of this project."""

    def __init__(
        self, deployment: Deployment, args: ImageSettings, *, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlflow:gcp:Image", deployment.component, {}, opts)
        self.repository = None
        if args.image_uri is not None:
            self.image_uri = pulumi.Output.from_input(args.image_uri)
            self.source_repository = _repository_of(deployment, args.image_uri)
        else:
            self.repository = self._repository(deployment, args)
            self.image_uri = self._built(deployment, args, self.repository)
            self.source_repository = ImageRepository(deployment.region, self.repository.repository_id)
        self.register_outputs({"image_uri": self.image_uri})

    def _repository(self, deployment: Deployment, args: ImageSettings) -> artifactregistry.Repository:
        return artifactregistry.Repository(
            deployment.logical_name("images"),
            project=deployment.project,
            location=deployment.region,
            repository_id=deployment.physical_name(repository_role(deployment.kms_key), 63),
            kms_key_name=deployment.kms_key,
            format="DOCKER",
            description=pulumi.Output.concat("MLflow of ", deployment.stack),
            # No docker_config, since the provider plans a block with immutable_tags=False again on each update. With
            # immutable tags, images cannot be deleted, not even by the cleanup policies below
            # (https://cloud.google.com/artifact-registry/docs/repositories/update-repo-settings). Instances use the
            # digest, and no tag is pushed twice.
            # New instances pull the image in use again; as the last push it is among the newest.
            cleanup_policies=[
                artifactregistry.RepositoryCleanupPolicyArgs(
                    id="keep-newest",
                    action="KEEP",
                    most_recent_versions=artifactregistry.RepositoryCleanupPolicyMostRecentVersionsArgs(
                        keep_count=args.keep_images
                    ),
                ),
                artifactregistry.RepositoryCleanupPolicyArgs(
                    id="delete-others",
                    action="DELETE",
                    condition=artifactregistry.RepositoryCleanupPolicyConditionArgs(
                        tag_state="ANY", older_than="86400s"
                    ),
                ),
            ],
            cleanup_policy_dry_run=False,
            # Scanning is billed per image: the project enables it with the Container Scanning API.
            vulnerability_scanning_config=artifactregistry.RepositoryVulnerabilityScanningConfigArgs(
                enablement_config="INHERITED"
            ),
            labels=deployment.labels,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _built(
        self, deployment: Deployment, args: ImageSettings, repository: artifactregistry.Repository
    ) -> pulumi.Output[str]:
        # The access token is valid for an hour.
        login = organizations.get_client_config_output(opts=pulumi.InvokeOptions(parent=self))
        return built_image(
            deployment.logical_name("mlflow"),
            Build(
                context=_CONTEXT,
                dockerfile=_DOCKERFILE,
                # The only platform of App Engine.
                platform="linux/amd64",
                arguments={"BASE": args.base_image, "PIP_INDEX_URL": args.package_index_url},
            ),
            Registry(
                image=pulumi.Output.concat(repository.registry_uri, "/mlflow"),
                repository=repository,
                replaced_by=[deployment.project, deployment.region],
                login=docker_build.RegistryArgs(
                    address=f"{deployment.region}-docker.pkg.dev",
                    # https://cloud.google.com/artifact-registry/docs/docker/authentication#token
                    username="oauth2accesstoken",
                    password=pulumi.Output.secret(login.access_token),
                ),
            ),
            parent=self,
        )


def repository_role(kms_key: str | None) -> str:
    """The role in the repository's name, another one for each key: a repository keeps its key, and another one is
    created before it is deleted."""
    return "images" if kms_key is None else f"images-{hashlib.sha256(kms_key.encode()).hexdigest()[:6]}"


def _repository_of(deployment: Deployment, reference: pulumi.Input[str]) -> ImageRepository | None:
    """The repository of an existing image; None for one in another project or registry."""
    if isinstance(reference, str):
        found = _REFERENCE.fullmatch(reference)
        return (
            ImageRepository(found["location"], found["repository"])
            if found and found["project"] == deployment.project
            else None
        )
    known = pulumi.Output.from_input(reference).apply(lambda one: _known(deployment, one))
    return ImageRepository(known.apply(lambda one: one["location"]), known.apply(lambda one: one["repository"]))


def _known(deployment: Deployment, reference: str) -> re.Match[str]:
    found = _REFERENCE.fullmatch(reference)
    if found is None or found["project"] != deployment.project:
        raise pulumi.RunError(
            f"image.imageUri: got {reference}, expected an image in the Artifact Registry of {deployment.project}: "
            "an image from another registry must be a plain string, not an Output."
        )
    return found
