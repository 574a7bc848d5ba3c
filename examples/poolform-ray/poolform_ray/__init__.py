"""Run Poolform's flows on Ray clusters."""
