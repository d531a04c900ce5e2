"""The lines that a stack prints for people."""

import pulumi

from .deployment import Deployment
from .load_balancer import LoadBalancer
from .service import Service
from .tokens import Tokens


def lines_for_clients(
    deployment: Deployment, *, load_balancer: LoadBalancer, service: Service, tokens: Tokens
) -> tuple[pulumi.Output[str | None], pulumi.Output[str]]:
    """(the port-forward command for an internal load balancer, the lines for a client_setup).

    Both can be pasted as they are. Neither holds the token: the second has the command that reads it.
    """
    port_forward = pulumi.Output.from_input(
        None if load_balancer.public else _port_forward(deployment, load_balancer, service)
    )
    lines = [
        _about_the_name(load_balancer),
        pulumi.Output.concat("export MLFLOW_TRACKING_URI=", load_balancer.url),
        _about_laptops(load_balancer),
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
    # Any of its instances will do.
    instance = pulumi.Output.format(
        "$(aws ec2 describe-instances --region {0} --filters Name=instance-state-name,Values=running "
        "Name=tag:aws:autoscaling:groupName,Values={1} "
        "--query 'Reservations[].Instances[].InstanceId | [0]' --output text)",
        deployment.region,
        service.instances_group_name,
    )
    # JSON's braces are doubled: they are format's.
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
    # Below 1024 a laptop would ask for its administrator.
    return 8443 if load_balancer.https else 8080


def _about_the_name(load_balancer: LoadBalancer) -> str | None:
    if load_balancer.https and load_balancer.host_name is None:
        return "# The certificate does not cover this host: use one of its names here (and in loadBalancer.hostName)."
    return None


def _about_laptops(load_balancer: LoadBalancer) -> str | None:
    """A certificate is never for localhost, but its port does not matter: the name may lead to the forwarded one."""
    if load_balancer.public:
        return None
    if not load_balancer.https:
        return f"# On a laptop, beside the port forward: export MLFLOW_TRACKING_URI=http://localhost:{_local_port(load_balancer)}"
    name = load_balancer.host_name or "<a name of the certificate's>"
    return (
        f"# On a laptop, beside the port forward: add the line `127.0.0.1 {name}` to /etc/hosts, and then\n"
        f"#   export MLFLOW_TRACKING_URI=https://{name}:{_local_port(load_balancer)}"
    )
