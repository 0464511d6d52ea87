"""Compile the contract into the artifact that ships with the package, or compare the two; run as scripts/contracts.

Exit codes: 0 written or equal, 1 the parts that are named differ, 2 nothing could be compiled.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Final

import solcx
from solcx.exceptions import SolcError

ROOT: Final = Path(__file__).resolve().parent.parent
CONTRACTS: Final = ROOT / "contracts"
ARTIFACT: Final = ROOT / "fedchain" / "ledger" / "FederationLedger.json"
NAME: Final = "FederationLedger"

SETTINGS: Final[dict[str, Any]] = {
    "viaIR": True,
    "optimizer": {"enabled": True, "runs": 1_000_000},
    # The newest rules that private proof-of-authority chains (clique) have: no PUSH0, no MCOPY.
    "evmVersion": "london",
    # Without the hash of the sources' text a comment changes no byte of the code.
    "metadata": {"bytecodeHash": "none"},
}


def compile_contract(name: str = NAME, *more: Path) -> dict[str, Any]:
    """Compile a contract, of the ledger's sources or of `more`, with the compiler that package-lock.json pins.

    Warnings are errors. Raises SolcError with the compiler's own words.
    """
    sources = {path.name: {"content": path.read_text()} for path in [*sorted(CONTRACTS.glob("*.sol")), *more]}
    outputs = {f"{name}.sol": {name: ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "metadata"]}}
    request = {
        "language": "Solidity",
        "sources": sources,
        "settings": SETTINGS | {"outputSelection": outputs},
    }
    output = solcx.compile_standard(request, solc_binary=CONTRACTS / "solc")
    if warnings := output.get("errors"):
        raise SolcError("\n".join(warning["formattedMessage"] for warning in warnings))
    contract = output["contracts"][f"{name}.sol"][name]
    bytecode = contract["evm"]["bytecode"]["object"]
    return {
        "compiler": json.loads(contract["metadata"])["compiler"]["version"],
        "settings": SETTINGS,
        "abi": contract["abi"],
        "bytecode": "0x" + bytecode,
        "runtime": "0x" + contract["evm"]["deployedBytecode"]["object"],
        "bytecode_sha256": hashlib.sha256(bytes.fromhex(bytecode)).hexdigest(),
    }


def differences(committed: dict[str, Any], compiled: dict[str, Any]) -> list[str]:
    """Name the parts of the artifact that differ."""
    return sorted(part for part in compiled | committed if compiled.get(part) != committed.get(part))


def main() -> int:
    """Write the artifact, or compare it."""
    parser = argparse.ArgumentParser(prog="scripts/contracts", description="Compile the contract's artifact.")
    parser.add_argument("--check", action="store_true", help="compare with the committed artifact, write nothing")
    check = parser.parse_args().check
    if not (CONTRACTS / "node_modules" / "solc").is_dir():
        print("contracts/node_modules has no compiler: run scripts/setup", file=sys.stderr)
        return 2
    try:
        compiled = compile_contract()
    except SolcError as error:
        print(error.message, file=sys.stderr)
        return 2
    if check:
        wrong = differences(json.loads(ARTIFACT.read_text()), compiled)
        for part in wrong:
            print(f"{ARTIFACT.name}: {part} is not what the sources compile to: run scripts/contracts")
        return 1 if wrong else 0
    ARTIFACT.write_text(json.dumps(compiled, indent=1) + "\n")
    print(f"{ARTIFACT.name}: {len(compiled['bytecode']) // 2 - 1} bytes, sha256 {compiled['bytecode_sha256']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
