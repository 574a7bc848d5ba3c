"""The public test kit for plugin authors, and for us."""
