"""Handlers: each serves one kind of route. A handler takes the RequestContext and returns the response."""
