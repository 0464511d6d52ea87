"""A development chain on this machine."""
