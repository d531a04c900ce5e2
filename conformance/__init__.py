"""Runs MLflow's own tests of its REST API through the proxy, and compares the results with those without it."""
