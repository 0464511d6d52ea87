"""The node: the daemon that a site runs beside its data."""
