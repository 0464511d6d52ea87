"""Configuration: TOML files with a comment on every line, read once at the entry point."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fedchain.config.secrets import read_password
from fedchain.core.errors import ConfigError


def _at_home(path: Path) -> Path:
    """Replace ~ and ~user."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("there is no such user on this machine") from error


File = Annotated[Path, Field(strict=False), AfterValidator(_at_home)]
"""A path; a relative one starts at the configuration file's folder."""

GatewayUrl = Annotated[str, Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")]
"""URL of a daemon, to which paths are added."""

RpcUrl = Annotated[str, Field(pattern=r"^https?://\S+$")]
"""URL of an Ethereum JSON-RPC endpoint."""

WebSocketUrl = Annotated[str, Field(pattern=r"^wss?://\S+$")]
"""URL of an Ethereum JSON-RPC endpoint over WebSocket."""

Confirmations = Annotated[int, Field(ge=0)] | Literal["finalized"]
"""Blocks that must follow a record before it counts, or what the chain itself calls final."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]

_EXPECTED: Final = {
    "path_type": "expected a path in quotes",
    "tuple_type": "expected a list, as in [1, 2]",
    "model_type": "expected a table",
    "dict_type": "expected a table",
}
"""What pydantic says in Python's words, in TOML's."""


class Table(BaseModel):
    """One table of a configuration file: unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class LedgerConfig(Table):
    """Where the ledger is."""

    federation: File = Field(description="file that `fedchain deploy` wrote: which contract, on which chain")
    rpc: RpcUrl | None = Field(None, description="your own Ethereum JSON-RPC endpoint, instead of that file's")
    subscribe: WebSocketUrl | None = Field(
        None, description="WebSocket URL of that endpoint, as in ws://127.0.0.1:8546: it tells of blocks, no polling"
    )
    confirmations: Confirmations | None = Field(
        None, description='blocks that must follow a record, or "finalized", instead of what that file says'
    )
    poll_s: Seconds = Field(2.0, description="seconds between two looks at the chain")


class KeyConfig(Table):
    """The key that this daemon signs with; the password comes from a file or from the environment."""

    file: File = Field(description="keystore file (version 3), made with `fedchain keys new`")
    password_file: File | None = Field(None, description="file whose first line is the password")
    password_env: str | None = Field(None, description="or: name of the environment variable that holds the password")

    def password(self) -> str:
        """Read the password; raises ConfigError."""
        return read_password(self.password_file, self.password_env)


class TlsConfig(Table):
    """Certificates; with `client_ca`, mutual TLS."""

    certificate: File = Field(description="PEM file with the server's certificate chain")
    key: File = Field(description="PEM file with its private key")
    client_ca: File | None = Field(
        None, description="PEM file: only clients with a certificate of this CA are served; as peers they are trusted"
    )


class WebConfig(Table):
    """Where the daemon listens: health, metrics, status, blobs."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all")
    port: Port = Field(description="port to listen on")
    url: GatewayUrl | None = Field(
        None, description="URL under which others reach this daemon; default http://host:port"
    )
    token_file: File | None = Field(None, description="file with the token that control end points need")
    tls: TlsConfig | None = Field(None, description="table with certificate, key, client_ca; without it, plain HTTP")

    @property
    def public_url(self) -> str:
        """The URL that the daemon announces."""
        scheme = "http" if self.tls is None else "https"
        return (self.url or f"{scheme}://{self.host}:{self.port}").rstrip("/")


class DaemonConfig(Table):
    """What every daemon is told."""

    folder: File = Field(Path("state"), description="folder for blobs, journal and copy of the ledger")
    peers: tuple[GatewayUrl, ...] = Field(
        (), strict=False, description="gateways to read blobs from; daemons that announce themselves are added"
    )
    ledger: LedgerConfig
    key: KeyConfig
    web: WebConfig


T = TypeVar("T", bound=Table)


def load_settings(path: Path, kind: type[T]) -> T:
    """Read a configuration file; raises ConfigError naming file, key, value and what is allowed."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    settings = validated(kind, document, path)
    return settings.model_copy(update=_anchored(settings, path.parent.resolve()))


def validated(kind: type[T], values: dict[str, Any], path: Path) -> T:
    """Read what a configuration file says, or is to say; raises ConfigError as `load_settings` does."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(kind, error)}") from error


def render(kind: type[Table], values: dict[str, Any]) -> str:
    """Write a configuration file: every key on a line of its own, with what it means.

    Keys without a value are written as comments with their default, and so are tables that may be left out.
    """
    return "\n".join(_lines(kind, values, "")) + "\n"


def _lines(kind: type[Table], values: dict[str, Any], table: str) -> list[str]:
    lines, tables = [], []
    for name, field in kind.model_fields.items():
        inner = _table_of(field.annotation)
        if inner is not None:
            title, doc = f"{table}{name}", (inner.__doc__ or "").splitlines()[0]
            mark = "" if name in values or field.is_required() else "# "
            tables += ["", f"{mark}[{title}]  # {doc}", *_lines(inner, values.get(name, {}), f"{title}.")]
        elif field.annotation == dict[str, Any]:
            tables += ["", f"[{name}]  # {field.description}", *_free_lines(values.get(name, {}))]
        elif name in values:
            lines.append(f"{name} = {_toml(values[name])}  # {field.description}")
        else:
            default = "…" if field.default is None or field.is_required() else _toml(field.default)
            lines.append(f"# {name} = {default}  # {field.description}")
    return lines + tables


def _free_lines(values: dict[str, Any]) -> list[str]:
    return [f"{name} = {_toml(value)}  # read by the task" for name, value in values.items()]


def _toml(value: Any) -> str:
    """Encode a value: JSON's strings, numbers, booleans and arrays are TOML's, but for DEL, which TOML escapes."""
    return json.dumps(value, default=str, ensure_ascii=False).replace("\x7f", "\\u007f")


def _table_of(annotation: Any) -> type[Table] | None:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, Table):
            return candidate
    return None


def _anchored(table: Table, folder: Path) -> dict[str, Any]:
    """Anchor relative paths, in nested tables too."""
    changed: dict[str, Any] = {}
    for name, value in table:
        if isinstance(value, Path):
            changed[name] = folder / value
        elif isinstance(value, Table):
            changed[name] = value.model_copy(update=_anchored(value, folder))
    return changed


def _explain(kind: type[Table], error: ValidationError) -> str:
    """Say in one line what is wrong: key, value, what is allowed there."""
    lines: dict[str, str] = {}
    listed: set[type[Table]] = set()
    for detail in error.errors():
        table, key = _place(kind, detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        expected = _EXPECTED.get(detail["type"], message[:1].lower() + message[1:])
        if detail["type"] == "extra_forbidden":
            known = "" if table in listed else f"; known here: {', '.join(table.model_fields)}"
            lines[key] = f"{key} is not a known key{known}"
            listed.add(table)
        elif detail["type"] == "missing":
            lines[key] = f"{key} is missing: {table.model_fields[str(detail['loc'][-1])].description or 'a table'}"
        elif key in lines:  # another alternative of a union
            lines[key] += f", or {expected}"
        else:
            lines[key] = f"{key} = {detail['input']!r:.80}: {expected}"
    return "; ".join(lines.values())


def _place(kind: type[Table], location: tuple[int | str, ...]) -> tuple[type[Table], str]:
    """Find the table that an error is in, and the key; pydantic adds the alternatives of unions, which are no keys."""
    table, key = kind, ""
    inner: type[Table] | None = kind
    for part in location:
        if isinstance(part, int):
            key += f"[{part}]"
        elif inner is not None:
            table, key = inner, f"{key}.{part}" if key else part
            field = table.model_fields.get(part)
            inner = _table_of(field.annotation) if field else None
    return table, key
