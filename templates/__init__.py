"""The Jinja-rendered Terraform, one folder a pool type."""
