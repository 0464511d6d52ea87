"""The machine that fedchain runs on: its clock, and its disk through SQLite."""
