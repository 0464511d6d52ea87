"""Pure rules: no clock, network, disk or environment."""
