"""A Kubernetes cluster: `kubernetes`, each run a Job in the pool's namespace."""
