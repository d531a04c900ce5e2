"""Fakes of the Google services that the client package uses: accounts, token endpoints and Identity-Aware Proxy (IAP).

Written from Google's documentation, which each module names. Tokens are signed and verified with PyJWT; no code is
shared with google-auth. Clients use Google's real host names: `internet` is an HTTPS proxy that terminates TLS with a
certificate authority that the clients trust. Tests therefore change no URL in the client, and requests to unexpected
hosts are recorded.
"""
