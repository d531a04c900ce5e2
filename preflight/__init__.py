"""Checks before the first `pulumi up` of a stack."""
