"""Checks of a Google Cloud project."""
