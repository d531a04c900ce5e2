"""Which inputs of a resource a reader wants to see, by type; the paths are those of the provider."""

from .clouds import CLOUDS

MATTERS: dict[str, tuple[str, ...]] = {
    **{kind: paths for cloud in CLOUDS for kind, paths in cloud.matters.items()},
    "docker-build:index:Image": ("push", "platforms", "tags"),
    "random:index/randomPassword:RandomPassword": ("length",),
    "random:index/randomString:RandomString": ("length",),
}
