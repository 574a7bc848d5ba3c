"""A laboratory: folders on this machine that pass for a cloud."""
