"""The lines that a stack prints for people."""

import pulumi

from .edge import Edge
from .place import Place
from .service import Service
from .tokens import Tokens


def lines_for_clients(
    place: Place, *, edge: Edge, service: Service, tokens: Tokens
) -> tuple[pulumi.Output[str | None], pulumi.Output[str]]:
    """(the port-forward command for an internal load balancer, the lines for a notebook).

    Both can be pasted as they are. Neither holds the token: the second has the command that reads it.
    """
    port_forward = pulumi.Output.from_input(None if edge.public else _port_forward(place, edge, service))
    lines = [
        _about_the_name(edge),
        pulumi.Output.concat("export MLFLOW_TRACKING_URI=", edge.url),
        _about_laptops(edge),
        pulumi.Output.concat(
            'export MLFLOW_TRACKING_TOKEN="$(aws secretsmanager get-secret-value --region ',
            place.region,
            " --secret-id ",
            tokens.admin_token_secret_arn,
            ' --query SecretString --output text)"',
        ),
    ]
    notebook = pulumi.Output.all(*[line for line in lines if line is not None]).apply("\n".join)
    return port_forward, notebook


def _port_forward(place: Place, edge: Edge, service: Service) -> pulumi.Output[str]:
    # Any of its instances will do.
    instance = pulumi.Output.format(
        "$(aws ec2 describe-instances --region {0} --filters Name=instance-state-name,Values=running "
        "Name=tag:aws:autoscaling:groupName,Values={1} "
        "--query 'Reservations[].Instances[].InstanceId | [0]' --output text)",
        place.region,
        service.instances_group_name,
    )
    # JSON's braces are doubled: they are format's.
    return pulumi.Output.format(
        'aws ssm start-session --region {0} --target "{1}" '
        "--document-name AWS-StartPortForwardingSessionToRemoteHost "
        '--parameters \'{{"host":["{2}"],"portNumber":["{3}"],"localPortNumber":["{4}"]}}\'',
        place.region,
        instance,
        edge.dns_name,
        str(edge.port),
        str(_local_port(edge)),
    )


def _local_port(edge: Edge) -> int:
    # Below 1024 a laptop would ask for its administrator.
    return 8443 if edge.https else 8080


def _about_the_name(edge: Edge) -> str | None:
    if edge.https and edge.host_name is None:
        return "# The certificate is not for this host: put a name of the certificate's here (and in edge.hostName)."
    return None


def _about_laptops(edge: Edge) -> str | None:
    """A certificate is never for localhost, but its port does not matter: the name may lead to the forwarded one."""
    if edge.public:
        return None
    if not edge.https:
        return (
            f"# On a laptop, beside the port forward: export MLFLOW_TRACKING_URI=http://localhost:{_local_port(edge)}"
        )
    name = edge.host_name or "<a name of the certificate's>"
    return (
        f"# On a laptop, beside the port forward: add the line `127.0.0.1 {name}` to /etc/hosts, and then\n"
        f"#   export MLFLOW_TRACKING_URI=https://{name}:{_local_port(edge)}"
    )
