"""The authenticators, in the order in which they are called. A new one needs an entry here and its module."""

from . import Authenticator
from .alb import AlbAuthenticator
from .iap import IapAuthenticator
from .no_auth import NoAuth
from .tokens import TokenAuthenticator

# Tokens before sign-in at a load balancer: a request with a token uses it also if it has a session.
AUTHENTICATORS: tuple[type[Authenticator], ...] = (NoAuth, TokenAuthenticator, AlbAuthenticator, IapAuthenticator)
