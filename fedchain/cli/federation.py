"""Moved to fedchain/daemon/federation.py."""

from fedchain.daemon.federation import FederationFile, load_federation, save_federation

__all__ = ["FederationFile", "load_federation", "save_federation"]
