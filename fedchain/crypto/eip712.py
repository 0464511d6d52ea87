"""Updates that a site signs and anyone may bring to the ledger (EIP-712; `SignedUpdate` in IFederationLedger.sol)."""

from __future__ import annotations

from typing import Any, Final

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from eth_keys.exceptions import BadSignature

from fedchain.core.ledger.records import Address, Federation, SignedUpdate, UpdateSubmitted, address

_TYPES: Final = {
    "SignedUpdate": [
        {"name": "site", "type": "address"},
        {"name": "base", "type": "uint64"},
        {"name": "samples", "type": "uint64"},
        {"name": "digest", "type": "bytes32"},
        {"name": "size", "type": "uint64"},
        {"name": "nonce", "type": "uint64"},
        {"name": "deadline", "type": "uint64"},
    ]
}

_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Half the order of secp256k1, the largest s that counts (EIP-2)."""


def sign_update(
    federation: Federation, key: LocalAccount, update: UpdateSubmitted, nonce: int, deadline: int
) -> SignedUpdate:
    """Sign an update as the site whose key this is.

    `nonce` is the ledger's `nonce(site)` plus the site's signed updates that are still under way; `deadline` the
    last block time, in seconds since 1970, at which the ledger takes it.
    """
    site = address(key.address)
    signed = key.sign_message(_message(federation, site, update, nonce, deadline))
    return SignedUpdate(site, update, nonce, deadline, bytes(signed.signature))


def update_digest(federation: Federation, site: Address, update: UpdateSubmitted, nonce: int, deadline: int) -> bytes:
    """Return what a site signs: keccak256(0x1901 ‖ domain separator ‖ hashStruct(update)), 32 bytes."""
    message = _message(federation, site, update, nonce, deadline)
    return keccak(b"\x19" + message.version + message.header + message.body)


def is_signed(federation: Federation, signed: SignedUpdate) -> bool:
    """Tell whether the contract takes the signature: the site's own, over these values, in the one allowed form."""
    signature = signed.signature
    if len(signature) != 65 or signature[64] not in (27, 28):
        return False
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        return False
    message = _message(federation, signed.site, signed.update, signed.nonce, signed.deadline)
    try:
        signer = Account.recover_message(message, signature=signature)
    except BadSignature:
        return False
    return address(signer) == signed.site


def _message(
    federation: Federation, site: Address, update: UpdateSubmitted, nonce: int, deadline: int
) -> SignableMessage:
    domain: dict[str, Any] = {
        "name": "fedchain",
        "version": "2",
        "chainId": federation.chain_id,
        "verifyingContract": federation.contract,
    }
    values = {
        "site": site,
        "base": update.base,
        "samples": update.samples,
        "digest": update.content.digest,
        "size": update.content.size,
        "nonce": nonce,
        "deadline": deadline,
    }
    return encode_typed_data(domain, _TYPES, values)
