"""Handlers: each answers one kind of request. A handler takes the RequestContext and returns the response."""
