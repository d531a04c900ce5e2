"""The authenticators, in the order in which they see a request. A new one needs a line here and its module."""

from . import Authenticator
from .alb import AlbAuthenticator
from .iap import IapAuthenticator
from .no_auth import NoAuth
from .tokens import TokenAuthenticator

# Tokens come before sign-in at a load balancer: a client that sends one means to use it.
AUTHENTICATORS: tuple[type[Authenticator], ...] = (NoAuth, TokenAuthenticator, AlbAuthenticator, IapAuthenticator)
