"""Secrets: they come from files or from the environment, never from a configuration file itself."""

from __future__ import annotations

import os
from pathlib import Path

from fedchain.core.errors import ConfigError


def read_password(file: Path | None, env: str | None) -> str:
    """Read a password from a file's first line or from the environment; raises ConfigError."""
    if file is not None:
        password = _text("password file", file).partition("\n")[0].removesuffix("\r")
        if not password:
            raise ConfigError(f"password file {file}: its first line is empty; write the password there")
        return password
    if env is not None and os.environ.get(env):
        return os.environ[env]
    missing = f"the environment variable {env} is not set" if env else "neither password_file nor password_env is given"
    raise ConfigError(f"no password for the key: {missing}")


def read_token(file: Path | None) -> str | None:
    """Read the token that control end points need, None where no file is named; raises ConfigError."""
    if file is None:
        return None
    token = _text("web.token_file =", file).strip()
    if not token:
        raise ConfigError(f"web.token_file = {file}: the file is empty; put a long random word into it")
    return token


def _text(what: str, file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{what} {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} {file}: not text in UTF-8: {error}") from error
