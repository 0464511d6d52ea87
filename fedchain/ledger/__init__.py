"""The ledger's adapters: memory and Ethereum (core/ports.py, `Ledger`)."""
