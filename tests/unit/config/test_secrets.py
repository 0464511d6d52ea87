from __future__ import annotations

from pathlib import Path

import pytest

from fedchain.config.secrets import read_password, read_token
from fedchain.config.settings import KeyConfig
from fedchain.core.errors import ConfigError

TOKEN = "a long random word"


@pytest.mark.parametrize("data", [b"secret\n", b"secret", b"secret\r\n", b"secret\nnot this\n"])
def test_a_password_is_a_files_first_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "password").write_bytes(data)
    assert KeyConfig(file=Path(), password_file=tmp_path / "password", password_env="OTHER").password() == "secret"


def test_a_password_keeps_its_spaces_and_letters(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" sécret \n", encoding="utf-8")
    assert read_password(tmp_path / "password", None) == " sécret "


def test_a_password_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    table = KeyConfig(file=Path(), password_env="FEDCHAIN_TEST_PASSWORD")
    monkeypatch.setenv("FEDCHAIN_TEST_PASSWORD", "secret")
    assert table.password() == "secret"
    monkeypatch.setenv("FEDCHAIN_TEST_PASSWORD", "")
    with pytest.raises(ConfigError, match="the environment variable FEDCHAIN_TEST_PASSWORD is not set"):
        table.password()


def test_a_password_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither password_file nor password_env is given"):
        read_password(None, None)
    with pytest.raises(ConfigError, match=r"password file .*password: No such file"):
        read_password(tmp_path / "password", None)
    (tmp_path / "password").write_bytes(b"\n")
    with pytest.raises(ConfigError, match=r"password file .*password: its first line is empty"):
        read_password(tmp_path / "password", None)
    (tmp_path / "password").write_bytes(b"\xff\n")
    with pytest.raises(ConfigError, match=r"password file .*password: not text in UTF-8"):
        read_password(tmp_path / "password", None)


def test_the_token_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert read_token(None) is None
    with pytest.raises(ConfigError, match=r"web\.token_file = .*token: No such file"):
        read_token(file)
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN
    file.write_text("\n")
    with pytest.raises(ConfigError, match=r"web\.token_file = .*token: the file is empty"):
        read_token(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"web\.token_file = .*token: not text"):
        read_token(file)
