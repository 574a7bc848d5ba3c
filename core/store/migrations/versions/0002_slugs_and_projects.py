"""Name schedules, and say which project file a deployment comes from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("schedules", sa.Column("slug", sa.Text(), nullable=True))
    op.add_column("deployments", sa.Column("project", sa.Text(), nullable=True))
