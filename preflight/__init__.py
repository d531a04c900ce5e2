"""`make preflight`: find what would make the first `pulumi up` of a stack fail, before anything is created."""
