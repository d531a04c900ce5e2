"""All timeouts of the load balancer and the tasks. They depend on each other, so that rolling updates drop no request.

All in seconds. A stopping task is first taken out of the target group, for ``deregistration_delay`` at most, and only
then told to stop (SIGTERM); it is killed after ``stop_timeout``.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/load-balancer-connection-draining.html
"""

from dataclasses import dataclass

# What connecting to the upstream can take with the proxy's own retries: three attempts of 5 seconds, and a little.
_CONNECTING = 20
# A booting instance with its agents, a pulled image and the first checks of the load balancer; with time to spare.
_NEW_TASK = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What follows from the load balancer's idle timeout."""

    idle_timeout_seconds: int

    @property
    def keepalive(self) -> int:
        """The proxy keeps idle connections longer than the load balancer: else it might close one that is being
        used."""
        return self.idle_timeout_seconds + 15

    @property
    def body_timeout(self) -> int:
        """How long a request may wait for its share of the proxy's memory, or its body stand still."""
        return min(60, self.idle_timeout_seconds // 4)

    @property
    def upstream_timeout(self) -> int:
        """The proxy gives up first, with a sentence; the load balancer would send a page.

        A short request has arrived as a whole before it waits for memory: from then on the load balancer hears nothing.
        """
        return self.idle_timeout_seconds - self.body_timeout - _CONNECTING

    @property
    def deregistration_delay(self) -> int:
        """A request to which nothing moves ends by itself within that time."""
        # A target group takes an hour at most.
        return min(self.idle_timeout_seconds, 3600)

    @property
    def drain(self) -> int:
        """For a task that is stopped while the load balancer still sends it requests."""
        return 5

    @property
    def grace(self) -> int:
        """From SIGTERM on, drain included: what is still under way may end."""
        return 30

    @property
    def stop_timeout(self) -> int:
        return self.grace + 15

    @property
    def rollout(self) -> int:
        """Until `pulumi up` calls a rollout failed: new tasks in, old ones out, and the same once more to roll back."""
        return _NEW_TASK + 2 * (self.deregistration_delay + self.stop_timeout)
