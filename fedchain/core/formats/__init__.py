"""Formats: documents, tensor files, models."""
