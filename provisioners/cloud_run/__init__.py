"""Cloud Run jobs: `cloud-run:push`, whose jobs need no route back, and `cloud-run`, for workers near the pool."""
