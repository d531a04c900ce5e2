"""The container image: built and pushed to a new ECR repository, or an existing image.

With MLflow's UI it is that of mlflow_app/, otherwise that of proxy_app/.

A build requires Docker with BuildKit.
"""

import json
import re
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build
from pulumi_aws import ecr

from ..built_image import Build, Registry, built_image
from .deployment import Deployment
from .settings import ImageSettings

_ROOT = Path(__file__).resolve().parents[2]
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<name>[a-z0-9._/-]+)[:@].*"
)


class Image(pulumi.ComponentResource):
    """The image of the tasks."""

    uri: pulumi.Output[str]
    """URI of the image with its digest."""
    repository_arn: pulumi.Output[str] | None
    """None for an existing image outside ECR."""

    def __init__(
        self,
        deployment: Deployment,
        args: ImageSettings,
        *,
        ui: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlflow:aws:Image", deployment.component, {}, opts)
        if args.image_uri is not None:
            self.uri = pulumi.Output.from_input(args.image_uri)
            self.repository_arn = _repository_of(deployment, args.image_uri)
        else:
            repository = self._repository(deployment, args)
            self.uri = self._built(deployment, args, repository, ui=ui)
            self.repository_arn = repository.arn
        self.register_outputs({"uri": self.uri, "repository_arn": self.repository_arn})

    def _repository(self, deployment: Deployment, args: ImageSettings) -> ecr.Repository:
        key = deployment.kms_key_arn
        made = ecr.Repository(
            deployment.logical_name("proxy"),
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            encryption_configurations=[
                ecr.RepositoryEncryptionConfigurationArgs(encryption_type="KMS" if key else "AES256", kms_key=key)
            ],
            force_delete=not deployment.deletion_protection,
            tags=deployment.tags_for("proxy"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        # Every build is pushed again, so the running image is always among the latest.
        newest = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": args.keep_images}
        ecr.LifecyclePolicy(
            deployment.logical_name("proxy"),
            repository=made.name,
            policy=json.dumps({"rules": [{"rulePriority": 1, "selection": newest, "action": {"type": "expire"}}]}),
            # A repository has one policy: deleting the old one after creating the new one would delete the new one.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        return made

    def _built(
        self, deployment: Deployment, args: ImageSettings, repository: ecr.Repository, *, ui: bool
    ) -> pulumi.Output[str]:
        key = deployment.kms_key_arn
        # The password is valid for 12 hours.
        login = ecr.get_authorization_token_output(opts=pulumi.InvokeOptions(parent=self))
        return built_image(
            deployment.logical_name("proxy"),
            Build(
                # The image with MLflow has both folders; .dockerignore selects them.
                context=_ROOT if ui else _ROOT / "proxy_app",
                dockerfile="mlflow_app/Dockerfile" if ui else "Dockerfile",
                platform=f"linux/{args.architecture}",
                arguments={"BASE": args.base_image, "PIP_INDEX_URL": args.package_index_url},
            ),
            Registry(
                image=repository.repository_url,
                repository=repository,
                replaced_by=[key] if isinstance(key, str) else [],
                login=docker_build.RegistryArgs(
                    address=repository.repository_url,
                    username=login.user_name,
                    password=pulumi.Output.secret(login.password),
                ),
            ),
            parent=self,
        )


def _repository_of(deployment: Deployment, image_uri: pulumi.Input[str]) -> pulumi.Output[str] | None:
    """The ARN of an existing image's ECR repository; None for a string that names another registry."""
    if isinstance(image_uri, str) and _ECR.fullmatch(image_uri) is None:
        return None
    return pulumi.Output.all(deployment.partition, image_uri).apply(lambda known: _arn(str(known[0]), str(known[1])))


def _arn(partition: str, image_uri: str) -> str:
    found = _ECR.fullmatch(image_uri)
    if found is None:
        raise pulumi.RunError(
            f"image.imageUri: got {image_uri} from an output; an image outside Amazon ECR must be a plain string."
        )
    return f"arn:{partition}:ecr:{found['region']}:{found['account']}:repository/{found['name']}"
