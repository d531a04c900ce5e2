"""Searches on AWS: by the tags of a component, and by name for what has no tags."""
