"""What a pool and a run are, and how they come and go. Knows no cloud, prints nothing, never exits."""
