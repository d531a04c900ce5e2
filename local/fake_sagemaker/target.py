"""The resource that is faked: a tracking server or a serverless app."""

import dataclasses
import re
from typing import Self

TRACKING_SERVER_ARN = "arn:aws:sagemaker:us-east-1:000000000000:mlflow-tracking-server/local"
APP_ARN = "arn:aws:sagemaker:us-east-1:000000000000:mlflow-app/app-LOCAL0000000"

# (SigV4 service, ARN header) by kind, from auth_provider.py and mlflow_sagemaker_request_header_provider.py of the
# sagemaker_mlflow plugin.
_KINDS = {
    "mlflow-tracking-server": ("sagemaker-mlflow", "x-mlflow-sm-tracking-server-arn"),
    "mlflow-app": ("sagemaker", "x-sm-mlflow-app-arn"),
}
ARN_HEADERS = frozenset(header for _, header in _KINDS.values())


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """The parts of the ARN of a tracking server or app."""

    arn: str
    region: str
    account: str
    kind: str
    name: str

    @classmethod
    def parse(cls, arn: str) -> Self:
        """Parse an ARN. ValueError unless it is that of a tracking server or an app."""
        match = re.fullmatch(
            r"arn:(?:aws|aws-us-gov):sagemaker:([a-z0-9-]+):(\d{12}):(mlflow-tracking-server|mlflow-app)/(\S+)", arn
        )
        if match is None:
            raise ValueError(f"got {arn!r}, expected the ARN of a SageMaker MLflow tracking server or app")
        region, account, kind, name = match.groups()
        return cls(arn, region, account, kind, name)

    @property
    def service(self) -> str:
        """The service in the SigV4 credential scope."""
        return _KINDS[self.kind][0]

    @property
    def header(self) -> str:
        """The name of the ARN header, in lower case."""
        return _KINDS[self.kind][1]
