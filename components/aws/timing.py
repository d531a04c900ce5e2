"""All timeouts of the load balancer and the tasks. They depend on each other, so that rolling updates drop no request.

All values are seconds. ECS first deregisters a stopping task from the target group, waits up to
``deregistration_delay``, then sends SIGTERM, and SIGKILL after ``stop_timeout``.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/load-balancer-connection-draining.html
"""

from dataclasses import dataclass

# Maximum time to connect to the upstream: three attempts of 5 seconds, with a margin.
_CONNECTING = 20
# Start of an instance with its agents, image pull and the first health checks, with a margin.
_NEW_TASK = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Timeouts derived from those of the upstream; ``long_upstream_timeout`` is that of artifacts and model calls."""

    upstream_timeout: int
    long_upstream_timeout: int

    @property
    def idle_timeout(self) -> int:
        """The load balancer's idle timeout, longer than the upstream's, so that clients get the proxy's error message.

        A short request is complete before it waits for memory: from then on the connection is idle.
        """
        return self.long_upstream_timeout + self.body_timeout + _CONNECTING

    @property
    def keepalive(self) -> int:
        """Keep-alive timeout of the proxy, longer than the load balancer's: otherwise it could close a connection that
        is about to be used."""
        return self.idle_timeout + 15

    @property
    def body_timeout(self) -> int:
        """Maximum wait for body memory, and maximum pause while receiving a body."""
        return 60

    @property
    def deregistration_delay(self) -> int:
        """Time for requests in progress; without data, a request ends within this time."""
        # The maximum for a target group.
        return min(self.idle_timeout, 3600)

    @property
    def drain(self) -> int:
        """Time after SIGTERM in which the proxy accepts requests, until the load balancer has removed the task."""
        return 5

    @property
    def grace(self) -> int:
        """Time from SIGTERM, including ``drain``, for requests in progress."""
        return 30

    @property
    def shutdown(self) -> int:
        """Time from SIGTERM, including ``grace``, in which the processes of the image with MLflow's UI exit."""
        return self.grace + 10

    @property
    def stop_timeout(self) -> int:
        """Time from SIGTERM to SIGKILL."""
        return self.grace + 15

    @property
    def rollout(self) -> int:
        """Timeout of `pulumi up` for a rolling update, including a rollback."""
        return _NEW_TASK + 2 * (self.deregistration_delay + self.stop_timeout)
