"""Flows, deployments and runs, and the launcher contract that jobs are started through."""
