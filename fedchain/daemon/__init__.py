"""What the two daemons share: configuration, web face, peers that announce themselves, a graceful end."""
