"""What of AWS is drawn, and as what."""

from ..cloud import Drawn
from ..graph import Resource
from .arrows import ALARM, NAT
from .exposure import BALANCER, ENDPOINT, SERVICE


def _balancer(one: Resource) -> str:
    return f"{'internal' if one.inputs.get('internal') else 'public'} load balancer"


def _endpoint(one: Resource) -> str:
    return f"VPC endpoint: {str(one.inputs.get('serviceName')).rpartition('.')[2]}"


DRAWN = {
    BALANCER: Drawn("load balancer", said=_balancer),
    SERVICE: Drawn("the proxy: ECS on EC2"),
    ENDPOINT: Drawn("VPC endpoint", together=True, said=_endpoint),
    NAT: Drawn("NAT gateway", together=True),
    ALARM: Drawn("alarm", together=True),
    "aws:cloudwatch/dashboard:Dashboard": Drawn("dashboard"),
    "aws:cloudwatch/logGroup:LogGroup": Drawn("log group", store=True),
    "aws:ecr/repository:Repository": Drawn("image in ECR", store=True),
    "aws:s3/bucket:Bucket": Drawn("bucket", store=True, named=True),
    "aws:sagemaker/domain:Domain": Drawn("SageMaker Studio"),
    "aws:sagemaker/mlflowApp:MlflowApp": Drawn("SageMaker MLflow app"),
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": Drawn("SageMaker MLflow tracking server"),
    "aws:secretsmanager/secret:Secret": Drawn("secret", store=True, named=True),
    "aws:sns/topic:Topic": Drawn("SNS topic"),
    "aws:wafv2/webAcl:WebAcl": Drawn("WAF"),
}
