"""Updates: fixed point, and what an update file is."""
