"""Poolform: infrastructure for Python flows, provisioned with Terraform."""
