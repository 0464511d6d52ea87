"""Configuration: TOML files, the federation file."""
