"""Strategies: how admitted updates become a version, one file each."""
