"""A module on disk, and Terraform driven over it."""
