"""The aggregator: the daemon that publishes versions."""
