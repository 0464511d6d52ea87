// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FederationLedger} from "./FederationLedger.sol";
import {Content, Roles} from "./IFederationLedger.sol";

/// @title A ledger with one further kind of record, which only tests have.
contract NotedLedger is FederationLedger {
    /// @notice A member wrote something down.
    event Noted(address indexed actor, uint64 indexed seq, bytes text, Content about, bytes more);

    constructor(address governor) FederationLedger(governor, address(0), 0) {}

    /// @notice Write something down.
    function note(
        uint64 seq,
        bytes calldata text,
        Content calldata about,
        bytes calldata more
    ) external onlyRole(Roles.TRAINER | Roles.AUDITOR) {
        bytes32 head_;
        // The ledger's own state is private, and the head is its first slot.
        assembly {
            head_ := sload(0)
        }
        head_ = keccak256(
            abi.encode(head_, 10, msg.sender, block.timestamp, seq, keccak256(text), about, keccak256(more))
        );
        assembly {
            sstore(0, head_)
        }
        emit Noted(msg.sender, seq, text, about, more);
    }
}
