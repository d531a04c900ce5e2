"""Google's side of the client: accounts, their tokens, the endpoints that make them, and IAP, which takes them.

Written from Google's documentation, which each module names. It signs and verifies by PyJWT, and shares no code with
google-auth. Real clients reach it under Google's own names: `internet` is an HTTPS proxy that ends TLS itself, by an
authority that clients are told to trust, so that no URL in the client is changed for a test, and a host that a client
should not have asked is seen.
"""
