"""The proxy's image in a repository of its own, built from proxy_app/ here, or an existing one by digest.

Docker with BuildKit is left to whoever runs the program, and for the other processor architecture its emulation.
"""

import json
import re
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build
from pulumi_aws import ecr

from ..built_image import Build, Registry, built_image
from .args import ImageArgs
from .place import Place

_CONTEXT = Path(__file__).resolve().parents[2] / "proxy_app"
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<name>[a-z0-9._/-]+)[:@].*"
)


class Image(pulumi.ComponentResource):
    """What the proxy's tasks run."""

    reference: pulumi.Output[str]
    """By digest."""
    repository_arn: pulumi.Output[str] | None
    """None for an image that was there and is not in ECR."""

    def __init__(self, place: Place, args: ImageArgs, *, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow:aws:Image", place.named("image"), {}, opts)
        if args.reference is not None:
            self.reference = pulumi.Output.from_input(args.reference)
            self.repository_arn = _repository_of(place, args.reference)
        else:
            repository = self._repository(place, args)
            self.reference = self._built(place, args, repository)
            self.repository_arn = repository.arn
        self.register_outputs({"reference": self.reference, "repository_arn": self.repository_arn})

    def _repository(self, place: Place, args: ImageArgs) -> ecr.Repository:
        key = place.kms_key_arn
        made = ecr.Repository(
            place.named("proxy"),
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            encryption_configurations=[
                ecr.RepositoryEncryptionConfigurationArgs(encryption_type="KMS" if key else "AES256", kms_key=key)
            ],
            force_delete=not place.deletion_protection,
            tags=place.tagged("proxy"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        # Every build is pushed anew, so what runs is always among the newest.
        newest = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": args.kept}
        ecr.LifecyclePolicy(
            place.named("proxy"),
            repository=made.name,
            policy=json.dumps({"rules": [{"rulePriority": 1, "selection": newest, "action": {"type": "expire"}}]}),
            # A repository has one: deleting the old one after the new one was put would delete the new one.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        return made

    def _built(self, place: Place, args: ImageArgs, repository: ecr.Repository) -> pulumi.Output[str]:
        key = place.kms_key_arn
        # Its password holds 12 hours.
        login = ecr.get_authorization_token_output(opts=pulumi.InvokeOptions(parent=self))
        return built_image(
            place.named("proxy"),
            Build(
                context=_CONTEXT,
                platform=f"linux/{args.architecture}",
                arguments={"BASE": args.base, "PIP_INDEX_URL": args.package_index},
            ),
            Registry(
                image=repository.repository_url,
                repository=repository,
                made_for=[key] if isinstance(key, str) else [],
                login=docker_build.RegistryArgs(
                    address=repository.repository_url,
                    username=login.user_name,
                    password=pulumi.Output.secret(login.password),
                ),
            ),
            parent=self,
        )


def _repository_of(place: Place, reference: pulumi.Input[str]) -> pulumi.Output[str] | None:
    """The ARN of the repository that an existing image is in; None for a text that names another registry."""
    if isinstance(reference, str) and _ECR.fullmatch(reference) is None:
        return None
    return pulumi.Output.all(place.partition, reference).apply(lambda known: _arn(str(known[0]), str(known[1])))


def _arn(partition: str, reference: str) -> str:
    found = _ECR.fullmatch(reference)
    if found is None:
        raise pulumi.RunError(f"image.reference is {reference}: an image outside Amazon ECR has to be given as a text.")
    return f"arn:{partition}:ecr:{found['region']}:{found['account']}:repository/{found['name']}"
