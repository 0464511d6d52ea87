"""The audit: everything that a federation published, judged again from its ledger and its content."""
