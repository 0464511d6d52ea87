"""How records cross the contract's border: calls, events and custom errors.

A payload is a fixed number of 32-byte words. The same words, in the same order, are the arguments of the
contract's function, the values of its event after the actor, and what the head hashes. So one table of names
and types is the codec. The tests hold it against the artifact's ABI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedchain.core.errors import FormatError
from fedchain.core.records import Kind, Payload, payload_words

_CONTENT: Final = "(bytes32,uint64)"


@dataclass(frozen=True, slots=True)
class Form:
    """What one kind of record is called on the contract."""

    function: str
    event: str
    types: str
    """Solidity types of the payload: of the function's arguments, and of the event's after the actor."""


FORMS: Final[dict[Kind, Form]] = {
    Kind.POLICY_SET: Form("setPolicy", "PolicySet", _CONTENT),
    Kind.MEMBER_SET: Form("setMember", "MemberSet", f"address,uint32,{_CONTENT}"),
    Kind.UPDATE_SUBMITTED: Form("submitUpdate", "UpdateSubmitted", f"uint64,uint64,{_CONTENT}"),
    Kind.BUFFER_CLOSED: Form("closeBuffer", "BufferClosed", ""),
    Kind.MODEL_PUBLISHED: Form("publishModel", "ModelPublished", f"uint64,uint64,{_CONTENT},{_CONTENT}"),
    Kind.EVALUATION_REPORTED: Form("reportEvaluation", "EvaluationReported", f"uint64,{_CONTENT}"),
    Kind.ATTESTED: Form("attest", "Attested", f"uint64,uint8,{_CONTENT}"),
    Kind.CONTENT_ERASED: Form("eraseContent", "ContentErased", "uint64,uint16"),
}


def checked_words(payload: Payload) -> list[int]:
    """Spell a payload as words; raises FormatError for a value outside its Solidity type."""
    types = [name for name in FORMS[payload.kind].types.replace("(", "").replace(")", "").split(",") if name]
    words = payload_words(payload)
    for name, word in zip(types, words, strict=True):
        bits = {"address": 160, "bytes32": 256}.get(name) or int(name.removeprefix("uint"))
        if not 0 <= word < 1 << bits:
            raise FormatError(f"{payload} cannot be recorded: {word} is outside 0 to 2^{bits} - 1 ({name})")
    return words
