"""Records: what the ledger holds, and the running hash over it."""
