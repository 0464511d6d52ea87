"""A replica of a federation: follow the ledger, fetch, recompute; shared by daemons and audit."""
