"""Dispatching: claim runs, supervise their jobs, recover what a dead worker left."""
