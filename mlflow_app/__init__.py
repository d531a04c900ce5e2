"""MLflow's server and the proxy in one container, for Google Cloud."""
