"""Outputs with shell commands for users."""

import pulumi

from .deployment import Deployment
from .load_balancer import LoadBalancer
from .service import Service
from .tokens import Tokens


def client_commands(
    deployment: Deployment, *, load_balancer: LoadBalancer, service: Service, tokens: Tokens
) -> tuple[pulumi.Output[str | None], pulumi.Output[str]]:
    """(port-forward command for an internal load balancer, commands that set up a client).

    Neither contains the token; the second reads it from Secrets Manager.
    """
    port_forward = pulumi.Output.from_input(
        None if load_balancer.public else _port_forward(deployment, load_balancer, service)
    )
    lines = [
        _host_name_comment(load_balancer),
        pulumi.Output.concat("export MLFLOW_TRACKING_URI=", load_balancer.url),
        _port_forward_comment(load_balancer),
        pulumi.Output.concat(
            'export MLFLOW_TRACKING_TOKEN="$(aws secretsmanager get-secret-value --region ',
            deployment.region,
            " --secret-id ",
            tokens.admin_token_secret_arn,
            ' --query SecretString --output text)"',
        ),
    ]
    client_setup = pulumi.Output.all(*[line for line in lines if line is not None]).apply("\n".join)
    return port_forward, client_setup


def _port_forward(deployment: Deployment, load_balancer: LoadBalancer, service: Service) -> pulumi.Output[str]:
    # Any instance can forward.
    instance = pulumi.Output.format(
        "$(aws ec2 describe-instances --region {0} --filters Name=instance-state-name,Values=running "
        "Name=tag:aws:autoscaling:groupName,Values={1} "
        "--query 'Reservations[].Instances[].InstanceId | [0]' --output text)",
        deployment.region,
        service.instances_group_name,
    )
    # Output.format requires doubled braces.
    return pulumi.Output.format(
        'aws ssm start-session --region {0} --target "{1}" '
        "--document-name AWS-StartPortForwardingSessionToRemoteHost "
        '--parameters \'{{"host":["{2}"],"portNumber":["{3}"],"localPortNumber":["{4}"]}}\'',
        deployment.region,
        instance,
        load_balancer.dns_name,
        str(load_balancer.port),
        str(_local_port(load_balancer)),
    )


def _local_port(load_balancer: LoadBalancer) -> int:
    # Ports below 1024 require administrator rights.
    return 8443 if load_balancer.https else 8080


def _host_name_comment(load_balancer: LoadBalancer) -> str | None:
    if load_balancer.https and load_balancer.host_name is None:
        return "# The certificate does not cover this host: use one of its names here (and in loadBalancer.hostName)."
    return None


def _port_forward_comment(load_balancer: LoadBalancer) -> str | None:
    """Instructions for a laptop. With HTTPS, the certificate's host name has to resolve to the forwarded port."""
    if load_balancer.public:
        return None
    if not load_balancer.https:
        return f"# On a laptop, with the port forward running: export MLFLOW_TRACKING_URI=http://localhost:{_local_port(load_balancer)}"
    name = load_balancer.host_name or "<host name of the certificate>"
    return (
        f"# On a laptop, with the port forward running: add the line `127.0.0.1 {name}` to /etc/hosts, and then\n"
        f"#   export MLFLOW_TRACKING_URI=https://{name}:{_local_port(load_balancer)}"
    )
