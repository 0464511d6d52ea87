from __future__ import annotations

import pwd
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedchain.aggregator.settings import AggregatorConfig
from fedchain.config.settings import WebConfig, load_settings, render
from fedchain.core.errors import ConfigError
from fedchain.node.settings import NodeConfig

CONFIGS = """
[ledger]
federation = "../federation.toml"
[key]
file = "key.json"
[web]
port = 8701
"""
NODE = 'task = "wdbc:BreastCancer"\n' + CONFIGS


def load(folder: Path, text: str, kind: type = NodeConfig) -> Any:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, kind)


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    table = load(tmp_path, NODE)
    assert (table.verify, table.training.device, table.ledger.poll_s, table.web.host) == (
        "head",
        "auto",
        2.0,
        "127.0.0.1",
    )
    assert (table.peers, table.site, table.web.tls, table.key.password_file) == ((), {}, None, None)


def test_relative_paths_start_at_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "node.toml").write_text(
        NODE + '[web.tls]\ncertificate = "site.pem"\nkey = "/keys/site.key"\nclient_ca = "../ca.pem"\n'
    )
    monkeypatch.chdir(elsewhere)
    table = load_settings(Path("../etc/node.toml"), NodeConfig)
    folder = tmp_path / "etc"
    assert table.folder == folder / "state"
    assert table.ledger.federation == folder / "../federation.toml"
    assert table.key.file == folder / "key.json"
    assert table.web.tls is not None
    assert table.web.tls.certificate == folder / "site.pem"
    assert table.web.tls.key == Path("/keys/site.key")
    assert table.web.tls.client_ca == folder / "../ca.pem"


def test_a_tilde_is_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = pwd.getpwuid(0)
    table = load(tmp_path, f'folder = "~{root.pw_name}/state"\n' + NODE.replace('"key.json"', '"~/key.json"'))
    assert table.key.file == tmp_path / "home" / "key.json"
    assert table.folder == Path(root.pw_dir) / "state"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "port = 8701",
            "port = 8701\ntsl = 1",
            "web.tsl is not a known key; known here: host, port, url, token_file, tls",
        ),
        ("port = 8701", 'port = "8701"', "web.port = '8701': input should be a valid integer"),
        ("port = 8701", "port = 0", "web.port = 0: input should be greater than or equal to 1"),
        ("port = 8701", "port = 70000", "web.port = 70000: input should be less than or equal to 65535"),
        ("port = 8701", "port = true", "web.port = True: input should be a valid integer"),
        ("port = 8701", "", "web.port is missing: port to listen on"),
        ("port = 8701", 'port = 1\nurl = "site.example:1"', "web.url = 'site.example:1': string should match pattern"),
        (
            "port = 8701",
            'port = 1\n[web.tls]\ncertificat = "a"\nkey = "b"',
            "web.tls.certificate is missing: PEM file with the server's certificate chain; "
            "web.tls.certificat is not a known key; known here: certificate, key, client_ca",
        ),
        ('"../federation.toml"', "3", "ledger.federation = 3: expected a path in quotes"),
        (
            '"../federation.toml"',
            '"f"\nconfirmations = "final"',
            "ledger.confirmations = 'final': input should be a valid integer, or input should be 'finalized'",
        ),
        (
            '"../federation.toml"',
            '"f"\nconfirmations = -1',
            "ledger.confirmations = -1: input should be greater than or equal to 0, or input should be 'finalized'",
        ),
        ('"../federation.toml"', '"f"\npoll_s = 0', "ledger.poll_s = 0: input should be greater than 0"),
        ('"../federation.toml"', '"f"\npoll_s = inf', "ledger.poll_s = inf: input should be a finite number"),
        ('"../federation.toml"', '"f"\npoll_s = "2"', "ledger.poll_s = '2': input should be a valid number"),
        ('"../federation.toml"', '"f"\nrpc = "localhost"', "ledger.rpc = 'localhost': string should match pattern"),
        ('task = "wdbc:BreastCancer"', "", "task is missing: the task, as module:Class"),
        ("task = ", "task = 1 #", "task = 1: input should be a valid string"),
        ("task = ", "colour = 1\ntask = ", "colour is not a known key; known here: folder, peers, ledger, key, web"),
        ("task = ", 'verify = "all"\ntask = ', "verify = 'all': input should be 'head' or 'replay'"),
        ("task = ", 'evaluate = "yes"\ntask = ', "evaluate = 'yes': input should be a valid boolean"),
        ("task = ", 'peers = "http://a"\ntask = ', "peers = 'http://a': expected a list"),
        ("task = ", "peers = [1]\ntask = ", "peers[0] = 1: input should be a valid string"),
        ("task = ", 'peers = ["http://a", "b:1"]\ntask = ', "peers[1] = 'b:1': string should match pattern"),
        ("task = ", "training = 3\ntask = ", "training = 3: expected a table"),
        ("task = ", "site = 3\ntask = ", "site = 3: expected a table"),
        ("task = ", "[training]\nseed = -1\n[x]\n#", "training.seed = -1: input should be greater than or equal to 0"),
        ("task = ", 'folder = "~nobody-here/x"\ntask = ', "folder = '~nobody-here/x': there is no such user"),
        ("[web]", "", "web is missing"),
        ("[web]", "[web", "not TOML: "),
        ("[web]", "[key]", "not TOML: "),
    ],
)
def test_an_error_names_file_key_value_and_what_is_allowed(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in NODE
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, NODE.replace(old, new, 1))
    assert str(caught.value).startswith(f"{tmp_path / 'node.toml'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_error_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, NODE.replace("8701", "0").replace("key.json", "~nobody-here/key") + "colour = 1")
    assert [key in str(caught.value) for key in ("web.port", "key.file", "web.colour")] == [True] * 3


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"node\.toml: No such file"):
        load_settings(tmp_path / "node.toml", NodeConfig)
    with pytest.raises(ConfigError, match="Is a directory"):
        load_settings(tmp_path, NodeConfig)
    (tmp_path / "node.toml").write_bytes(b'task = "\xff"')
    with pytest.raises(ConfigError, match=r"node\.toml: not TOML: .*utf-8"):
        load_settings(tmp_path / "node.toml", NodeConfig)


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
urls = st.sampled_from(["http://127.0.0.1:8700", "https://hospital.example/fedchain", "http://[::1]:1"])
files = st.sampled_from(["state", "../x/ü state", "/etc/fedchain/key.json"])
seconds = st.floats(0.01, 1e9) | st.integers(1, 100)


def some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


common = {
    "ledger": some(
        {"federation": files},
        {"rpc": urls, "confirmations": st.integers(0, 99) | st.just("finalized"), "poll_s": seconds},
    ),
    "key": some({"file": files}, {"password_file": files, "password_env": texts}),
    "web": some(
        {"port": st.integers(1, 65535)},
        {
            "host": texts,
            "url": urls,
            "token_file": files,
            "tls": some({"certificate": files, "key": files}, {"client_ca": files}),
        },
    ),
}
optional = {"folder": files, "peers": st.lists(urls, max_size=3)}
training = {
    "device": texts,
    "threads": st.integers(1, 99),
    "bf16": st.booleans(),
    "compile": st.booleans(),
    "seed": st.integers(0, 2**32 - 1),
    "steps": st.integers(1, 10**9),
    "at_least_s": seconds,
}
values_of_tasks = texts | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
site = st.dictionaries(st.from_regex(r"\A[a-z_][a-z0-9_]{0,9}\Z"), values_of_tasks | st.booleans(), max_size=4)
nodes = some(
    {**common, "task": texts},
    {
        **optional,
        "verify": st.sampled_from(["head", "replay"]),
        "evaluate": st.booleans(),
        "report": st.booleans(),
        "training": some({}, training),
        "site": site,
    },
)
aggregators = some(common, {**optional, "threads": st.integers(1, 64), "unavailable_after_s": seconds})


@given(nodes.map(lambda values: (NodeConfig, values)) | aggregators.map(lambda values: (AggregatorConfig, values)))
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_is_written_is_read_with_a_comment_on_every_line(
    tmp_path: Path, written: tuple[type[NodeConfig] | type[AggregatorConfig], dict[str, Any]]
) -> None:
    kind, values = written
    text = render(kind, values)
    assert all(" # " in line for line in text.split("\n") if line)
    (tmp_path / "daemon.toml").write_text(text, encoding="utf-8")
    found = load_settings(tmp_path / "daemon.toml", kind)
    assert found.model_dump() == anchored(kind.model_validate(values).model_dump(), tmp_path)


def anchored(values: Any, folder: Path) -> Any:
    if isinstance(values, dict):
        return {name: anchored(value, folder) for name, value in values.items()}
    return folder / values if isinstance(values, Path) else values


@pytest.mark.parametrize("kind", [NodeConfig, AggregatorConfig])
def test_a_configuration_shows_every_key_there_is(tmp_path: Path, kind: type) -> None:
    text = render(kind, {"ledger": {"federation": "f"}, "key": {"file": "k"}, "web": {"port": 1}, "task": "a:B"})
    for name in keys_of(kind):
        assert any(line.removeprefix("# ").startswith((f"{name} = ", f"[{name}]")) for line in text.splitlines()), name


def keys_of(kind: Any) -> list[str]:
    names = []
    for name, field in kind.model_fields.items():
        inner = [one for one in (field.annotation, *getattr(field.annotation, "__args__", ())) if keys(one)]
        names += keys_of(inner[0]) if inner else [name]
    return names


def keys(kind: Any) -> Any:
    return getattr(kind, "model_fields", None)


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "http://127.0.0.1:8701"),
        ({"host": "10.0.0.1"}, "http://10.0.0.1:8701"),
        ({"tls": {"certificate": Path("c"), "key": Path("k")}}, "https://127.0.0.1:8701"),
        ({"url": "https://hospital.example/fedchain/"}, "https://hospital.example/fedchain"),
    ],
)
def test_the_url_that_others_are_told(values: dict[str, Any], url: str) -> None:
    assert WebConfig(port=8701, **values).public_url == url
