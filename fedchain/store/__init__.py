"""Blobs by CID: on this disk, in memory, and at peers' IPFS gateways."""
