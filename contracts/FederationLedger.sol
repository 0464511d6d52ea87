// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {Content, IFederationLedger, Kind, Meaning, Roles, SignedUpdate} from "./IFederationLedger.sol";

/**
 * @title The audit trail of one federation
 * @dev See {IFederationLedger}. There is no proxy and no owner: new rules are a new contract that names this one as
 * its predecessor. Records cost no fresh storage slot: all state is one slot for the head, one for the two
 * counters, and one for each member.
 */
contract FederationLedger is IFederationLedger, EIP712 {
    struct Member {
        uint32 roles;
        uint64 nonce;
    }

    bytes32 private constant SIGNED_UPDATE_TYPEHASH =
        keccak256(
            "SignedUpdate(address site,uint64 base,uint64 samples,"
            "bytes32 digest,uint64 size,uint64 nonce,uint64 deadline)"
        );

    address private immutable _predecessor;
    bytes32 private immutable _predecessorHead;

    bytes32 private _head;
    uint64 private _versions;
    uint32 private _governors;
    mapping(address account => Member) private _members;

    /// @dev Reverts with {Unauthorized} unless the sender has one of the roles in `needed`.
    modifier onlyRole(uint32 needed) {
        _checkRole(msg.sender, _members[msg.sender].roles, needed);
        _;
    }

    /**
     * @dev Starts the head and appends record 0, the first governor. Reverts with {NoGovernor}.
     * @param governor The first governor.
     * @param predecessor_ The contract that this one goes on from; zero when it is the first.
     * @param predecessorHead The predecessor's last head.
     */
    constructor(address governor, address predecessor_, bytes32 predecessorHead) EIP712("fedchain", "1") {
        if (governor == address(0)) revert NoGovernor();
        _predecessor = predecessor_;
        _predecessorHead = predecessorHead;
        _head = keccak256(abi.encode(block.chainid, address(this), predecessor_, predecessorHead));
        _setMember(governor, governor, Roles.GOVERNOR, Content(0, 0));
    }

    /// @inheritdoc IFederationLedger
    function setPolicy(Content calldata policy) external onlyRole(Roles.GOVERNOR) {
        _head = keccak256(abi.encode(_head, Kind.PolicySet, msg.sender, block.timestamp, policy));
        emit PolicySet(msg.sender, policy);
    }

    /// @inheritdoc IFederationLedger
    function setMember(address account, uint32 roles, Content calldata profile) external onlyRole(Roles.GOVERNOR) {
        _setMember(msg.sender, account, roles, profile);
    }

    /// @inheritdoc IFederationLedger
    function submitUpdate(uint64 base, uint64 samples, Content calldata content) external onlyRole(Roles.TRAINER) {
        _head = _submit(_head, _versions, msg.sender, base, samples, content);
    }

    /// @inheritdoc IFederationLedger
    function submitUpdates(SignedUpdate[] calldata updates) external {
        if (updates.length == 0) revert NoUpdates();
        bytes32 head_ = _head;
        uint64 versions_ = _versions;
        for (uint256 i = 0; i < updates.length; ++i) {
            head_ = _relay(head_, versions_, updates[i]);
        }
        _head = head_;
    }

    /// @inheritdoc IFederationLedger
    function closeBuffer() external onlyRole(Roles.ALL) {
        _head = keccak256(abi.encode(_head, Kind.BufferClosed, msg.sender, block.timestamp));
        emit BufferClosed(msg.sender);
    }

    /// @inheritdoc IFederationLedger
    function publishModel(
        uint64 version,
        uint64 through,
        Content calldata model,
        Content calldata manifest
    ) external onlyRole(Roles.AGGREGATOR) {
        if (version != _versions) revert WrongVersion(version, _versions);
        _versions = version + 1;
        _head = keccak256(
            abi.encode(_head, Kind.ModelPublished, msg.sender, block.timestamp, version, through, model, manifest)
        );
        emit ModelPublished(msg.sender, version, through, model, manifest);
    }

    /// @inheritdoc IFederationLedger
    function reportEvaluation(
        uint64 version,
        Content calldata report
    ) external onlyRole(Roles.TRAINER | Roles.AUDITOR) {
        _checkPublished(version);
        _head = keccak256(abi.encode(_head, Kind.EvaluationReported, msg.sender, block.timestamp, version, report));
        emit EvaluationReported(msg.sender, version, report);
    }

    /// @inheritdoc IFederationLedger
    function attest(
        uint64 version,
        Meaning meaning,
        Content calldata evidence
    ) external onlyRole(Roles.TRAINER | Roles.AUDITOR) {
        _checkPublished(version);
        if (meaning == Meaning.None) revert NoMeaning();
        _head = keccak256(abi.encode(_head, Kind.Attested, msg.sender, block.timestamp, version, meaning, evidence));
        emit Attested(msg.sender, version, meaning, evidence);
    }

    /// @inheritdoc IFederationLedger
    function eraseContent(uint64 seq, uint16 reason) external onlyRole(Roles.ALL) {
        _head = keccak256(abi.encode(_head, Kind.ContentErased, msg.sender, block.timestamp, seq, reason));
        emit ContentErased(msg.sender, seq, reason);
    }

    /// @inheritdoc IFederationLedger
    function head() external view returns (bytes32) {
        return _head;
    }

    /// @inheritdoc IFederationLedger
    function versions() external view returns (uint64) {
        return _versions;
    }

    /// @inheritdoc IFederationLedger
    function member(address account) external view returns (uint32 roles, uint64 nonce) {
        Member storage member_ = _members[account];
        return (member_.roles, member_.nonce);
    }

    /// @inheritdoc IFederationLedger
    function predecessor() external view returns (address ledger, bytes32 lastHead) {
        return (_predecessor, _predecessorHead);
    }

    /// @dev Sets a member's roles, counting governors. The nonce beside them stays.
    function _setMember(address actor, address account, uint32 roles, Content memory profile) private {
        if (roles & ~Roles.ALL != 0) revert UnknownRoles(roles);
        Member storage member_ = _members[account];
        bool governed = member_.roles & Roles.GOVERNOR != 0;
        bool governs = roles & Roles.GOVERNOR != 0;
        if (governs && !governed) {
            _governors += 1;
        } else if (governed && !governs) {
            if (_governors == 1) revert LastGovernor(account);
            _governors -= 1;
        }
        member_.roles = roles;
        _head = keccak256(abi.encode(_head, Kind.MemberSet, actor, block.timestamp, account, roles, profile));
        emit MemberSet(actor, account, roles, profile);
    }

    /// @dev Checks that a site signed this update now, as its next one, spends its nonce, and records the update.
    function _relay(bytes32 head_, uint64 versions_, SignedUpdate calldata signed) private returns (bytes32) {
        // Copied once: every read from calldata is checked again.
        address site = signed.site;
        uint64 base = signed.base;
        uint64 samples = signed.samples;
        Content memory content = signed.content;
        uint64 nonce = signed.nonce;
        uint64 deadline = signed.deadline;

        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(SIGNED_UPDATE_TYPEHASH, site, base, samples, content, nonce, deadline))
        );
        (address signer, ECDSA.RecoverError failure, ) = ECDSA.tryRecoverCalldata(digest, signed.signature);
        if (failure != ECDSA.RecoverError.NoError || signer != site) revert BadSignature(site);

        Member storage member_ = _members[site];
        _checkRole(site, member_.roles, Roles.TRAINER);
        if (nonce != member_.nonce) revert WrongNonce(site, nonce, member_.nonce);
        if (block.timestamp > deadline) revert Expired(site, deadline, block.timestamp);
        member_.nonce = nonce + 1;
        return _submit(head_, versions_, site, base, samples, content);
    }

    /**
     * @dev Checks and records an update on top of `head_`, and returns the new head for the caller to store: a batch
     * writes its slot once.
     */
    function _submit(
        bytes32 head_,
        uint64 versions_,
        address site,
        uint64 base,
        uint64 samples,
        Content memory content
    ) private returns (bytes32 newHead) {
        if (base >= versions_) revert UnknownBase(base, versions_);
        if (samples == 0) revert NoSamples();
        if (content.size == 0) revert EmptyContent();
        newHead = keccak256(abi.encode(head_, Kind.UpdateSubmitted, site, block.timestamp, base, samples, content));
        emit UpdateSubmitted(site, base, samples, content);
    }

    /// @dev Reverts with {Unauthorized} unless one of the roles in `needed` is among `roles`.
    function _checkRole(address actor, uint32 roles, uint32 needed) private pure {
        if (roles & needed == 0) revert Unauthorized(actor, needed);
    }

    /// @dev Reverts with {UnknownVersion} unless the version is published.
    function _checkPublished(uint64 version) private view {
        if (version >= _versions) revert UnknownVersion(version, _versions);
    }
}
