"""MLflow's image in a repository of its own in Artifact Registry, built here, or an existing one by digest.

Docker with BuildKit is left to whoever runs the program, and on other processors its emulation of amd64. Of an existing
image outside of this project's Artifact Registry, so is the right to pull it.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pulumi
import pulumi_docker_build as docker_build
from pulumi_gcp import artifactregistry, organizations

from ..built_image import Build, Registry, built_image
from .args import ImageArgs
from .place import Place

# The image holds two folders of it; .dockerignore lets in what they need.
_CONTEXT = Path(__file__).resolve().parents[2]
_DOCKERFILE = "mlflow_app/Dockerfile"
# https://cloud.google.com/artifact-registry/docs/docker/names
_REFERENCE = re.compile(r"(?P<location>[a-z0-9-]+)-docker\.pkg\.dev/(?P<project>[^/]+)/(?P<repository>[^/]+)/.+")


class Shelf(NamedTuple):
    """A repository of this project, by its location and name, from which an image is pulled."""

    location: pulumi.Input[str]
    repository: pulumi.Input[str]


class Image(pulumi.ComponentResource):
    """What MLflow's instances run."""

    reference: pulumi.Output[str]
    """By digest."""
    repository: artifactregistry.Repository | None
    """None for an image that was there."""
    pulled_from: Shelf | None
    """None for an image that is not in this project."""

    def __init__(self, place: Place, args: ImageArgs, *, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow:gcp:Image", place.named("image"), {}, opts)
        self.repository = None
        if args.reference is not None:
            self.reference = pulumi.Output.from_input(args.reference)
            self.pulled_from = _shelf_of(place, args.reference)
        else:
            self.repository = self._repository(place, args)
            self.reference = self._built(place, args, self.repository)
            self.pulled_from = Shelf(place.region, self.repository.repository_id)
        self.register_outputs({"reference": self.reference})

    def _repository(self, place: Place, args: ImageArgs) -> artifactregistry.Repository:
        return artifactregistry.Repository(
            place.named("images"),
            project=place.project,
            location=place.region,
            repository_id=place.physical_name("images", 63),
            format="DOCKER",
            description=f"MLflow of {place.stack}",
            # Nobody may delete a tagged image among immutable tags, the policies below neither
            # (https://cloud.google.com/artifact-registry/docs/repositories/update-repo-settings). What runs is named by
            # its digest, and no tag is pushed twice.
            docker_config=artifactregistry.RepositoryDockerConfigArgs(immutable_tags=False),
            # Every build is pushed anew, so what runs is always among the newest: new instances pull it again.
            cleanup_policies=[
                artifactregistry.RepositoryCleanupPolicyArgs(
                    id="keep-newest",
                    action="KEEP",
                    most_recent_versions=artifactregistry.RepositoryCleanupPolicyMostRecentVersionsArgs(
                        keep_count=args.kept
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
            # Scanning costs per image: the project decides, by its Container Scanning API.
            vulnerability_scanning_config=artifactregistry.RepositoryVulnerabilityScanningConfigArgs(
                enablement_config="INHERITED"
            ),
            labels=place.labels,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _built(self, place: Place, args: ImageArgs, repository: artifactregistry.Repository) -> pulumi.Output[str]:
        # Its token holds an hour.
        login = organizations.get_client_config_output(opts=pulumi.InvokeOptions(parent=self))
        return built_image(
            place.named("mlflow"),
            Build(
                context=_CONTEXT,
                dockerfile=_DOCKERFILE,
                # App Engine has no other.
                platform="linux/amd64",
                arguments={"BASE": args.base, "PIP_INDEX_URL": args.package_index},
            ),
            Registry(
                image=pulumi.Output.concat(repository.registry_uri, "/mlflow"),
                repository=repository,
                made_for=[place.project, place.region],
                login=docker_build.RegistryArgs(
                    address=f"{place.region}-docker.pkg.dev",
                    # https://cloud.google.com/artifact-registry/docs/docker/authentication#token
                    username="oauth2accesstoken",
                    password=pulumi.Output.secret(login.access_token),
                ),
            ),
            parent=self,
        )


def _shelf_of(place: Place, reference: pulumi.Input[str]) -> Shelf | None:
    """Where an existing image is; None for a text that names another project or registry."""
    if isinstance(reference, str):
        found = _REFERENCE.fullmatch(reference)
        return Shelf(found["location"], found["repository"]) if found and found["project"] == place.project else None
    known = pulumi.Output.from_input(reference).apply(lambda one: _known(place, one))
    return Shelf(known.apply(lambda one: one["location"]), known.apply(lambda one: one["repository"]))


def _known(place: Place, reference: str) -> re.Match[str]:
    found = _REFERENCE.fullmatch(reference)
    if found is None or found["project"] != place.project:
        raise pulumi.RunError(
            f"image.reference is {reference}: an image outside of {place.project}'s Artifact Registry has to be given "
            "as a text."
        )
    return found
