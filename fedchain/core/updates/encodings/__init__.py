"""Encodings: how an update's integers stand in its file, one file each."""
