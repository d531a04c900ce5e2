"""The requests of the AWS provider that IAM evaluates, by resource type and by function."""
