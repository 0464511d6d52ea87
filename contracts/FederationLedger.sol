// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Content, IFederationLedger, Kind, Roles, SignedUpdate} from "./IFederationLedger.sol";

/**
 * @title The audit trail of one federation
 * @dev See {IFederationLedger}. There is no proxy and no owner: new rules are a new contract that names this one as
 * its predecessor. Records cost no fresh storage slot: all state is one slot for the head, one for the two
 * counters, and one for each member. Nothing is imported: the libraries for signatures need newer rules of the chain
 * than private chains have (`london`).
 */
contract FederationLedger is IFederationLedger {
    struct Member {
        uint32 roles;
        uint64 nonce;
    }

    /// @dev Bytes that a policy or a certificate may have.
    uint256 private constant MAX_BYTES = 32_768;

    /// @dev Half the order of secp256k1, the largest s that counts (EIP-2).
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

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
    constructor(address governor, address predecessor_, bytes32 predecessorHead) {
        if (governor == address(0)) revert NoGovernor();
        _predecessor = predecessor_;
        _predecessorHead = predecessorHead;
        _head = keccak256(abi.encode(block.chainid, address(this), predecessor_, predecessorHead));
        _setMember(governor, governor, Roles.GOVERNOR, Content(0, 0));
    }

    /// @inheritdoc IFederationLedger
    function setPolicy(bytes calldata policy) external onlyRole(Roles.GOVERNOR) {
        if (policy.length > MAX_BYTES) revert PolicyTooLong(policy.length, MAX_BYTES);
        _head = keccak256(abi.encode(_head, Kind.PolicySet, msg.sender, block.timestamp, keccak256(policy)));
        emit PolicySet(msg.sender, policy);
    }

    /// @inheritdoc IFederationLedger
    function setMember(address account, uint32 roles, Content calldata profile) external onlyRole(Roles.GOVERNOR) {
        _setMember(msg.sender, account, roles, profile);
    }

    /// @inheritdoc IFederationLedger
    function submitUpdate(uint64 base, uint64 samples, Content calldata content) external onlyRole(Roles.TRAINER) {
        _checkUpdate(_versions, base, samples, content.size);
        _head = _submit(_head, msg.sender, base, samples, content.digest, content.size);
    }

    /// @inheritdoc IFederationLedger
    function submitUpdates(SignedUpdate[] calldata updates) external {
        bytes32 before = _head;
        bytes32 head_ = before;
        uint64 versions_ = _versions;
        bytes32 domain = _domainSeparator();
        for (uint256 i = 0; i < updates.length; ++i) {
            head_ = _relay(head_, versions_, domain, updates[i]);
        }
        if (head_ == before) revert NoUpdates();
        _head = head_;
    }

    /// @inheritdoc IFederationLedger
    function closeBuffer(
        uint64 from,
        bytes calldata certificate
    ) external onlyRole(from == 0 ? Roles.ALL : Roles.GOVERNOR) {
        bytes32 statements = _hash(certificate);
        if (from != 0) _versions += 1;
        _head = keccak256(abi.encode(_head, Kind.BufferClosed, msg.sender, block.timestamp, from, statements));
        emit BufferClosed(msg.sender, from, certificate);
    }

    /// @inheritdoc IFederationLedger
    function publishModel(
        uint64 version,
        uint64 through,
        bytes32 head_,
        Content calldata model,
        Content calldata manifest,
        bytes calldata certificate
    ) external onlyRole(Roles.AGGREGATOR) {
        uint64 next = _versions;
        if (version > next) revert WrongVersion(version, next);
        if (version == next) _versions = next + 1;
        bytes32 statements = _hash(certificate);
        _head = keccak256(
            abi.encode(
                _head,
                Kind.ModelPublished,
                msg.sender,
                block.timestamp,
                version,
                through,
                head_,
                model,
                manifest,
                statements
            )
        );
        emit ModelPublished(msg.sender, version, through, head_, model, manifest, certificate);
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
    function attest(uint64 seq, uint16 meaning, Content calldata evidence) external onlyRole(Roles.ALL) {
        if (meaning == 0) revert NoMeaning();
        _head = keccak256(abi.encode(_head, Kind.Attested, msg.sender, block.timestamp, seq, meaning, evidence));
        emit Attested(msg.sender, seq, meaning, evidence);
    }

    /// @inheritdoc IFederationLedger
    function eraseContent(uint64 seq, uint16 reason) external onlyRole(Roles.ALL) {
        _head = keccak256(abi.encode(_head, Kind.ContentErased, msg.sender, block.timestamp, seq, reason));
        emit ContentErased(msg.sender, seq, reason);
    }

    /// @inheritdoc IFederationLedger
    function giveShare(uint64 closing, bytes32 digest, Content calldata content) external onlyRole(Roles.ALL) {
        _head = keccak256(abi.encode(_head, Kind.ShareGiven, msg.sender, block.timestamp, closing, digest, content));
        emit ShareGiven(msg.sender, closing, digest, content);
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

    /// @inheritdoc IFederationLedger
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        return (hex"0f", "fedchain", "2", block.chainid, address(this), bytes32(0), new uint256[](0));
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

    /**
     * @dev Checks that a site signed this update, spends its nonce, and records it on top of `head_`; leaves it out,
     * returning `head_` as it was, where the site, its nonce or the time is not right now.
     */
    function _relay(
        bytes32 head_,
        uint64 versions_,
        bytes32 domain,
        SignedUpdate calldata signed
    ) private returns (bytes32) {
        // Copied once: every read from calldata is checked again.
        address site = signed.site;
        uint64 base = signed.base;
        uint64 samples = signed.samples;
        bytes32 digest = signed.content.digest;
        uint64 size = signed.content.size;
        uint64 nonce = signed.nonce;
        uint64 deadline = signed.deadline;

        bytes32 values = keccak256(
            abi.encode(SIGNED_UPDATE_TYPEHASH, site, base, samples, digest, size, nonce, deadline)
        );
        address signer = _recover(keccak256(abi.encodePacked(hex"1901", domain, values)), signed.signature);
        if (signer != site || signer == address(0)) revert BadSignature(site);
        _checkUpdate(versions_, base, samples, size);

        Member storage member_ = _members[site];
        if (member_.roles & Roles.TRAINER == 0 || nonce != member_.nonce || block.timestamp > deadline) return head_;
        member_.nonce = nonce + 1;
        return _submit(head_, site, base, samples, digest, size);
    }

    /// @dev Returns who signed `digest`; zero where `signature` is none in its one allowed form.
    function _recover(bytes32 digest, bytes calldata signature) private pure returns (address) {
        if (signature.length != 65) return address(0);
        bytes32 s = bytes32(signature[32:64]);
        if (uint256(s) > HALF_ORDER) return address(0);
        // The precompile itself takes no v but 27 and 28.
        return ecrecover(digest, uint8(signature[64]), bytes32(signature[:32]), s);
    }

    /// @dev Returns what signatures are bound to: this contract on this chain (EIP-712).
    function _domainSeparator() private view returns (bytes32) {
        return
            keccak256(
                abi.encode(DOMAIN_TYPEHASH, keccak256("fedchain"), keccak256("2"), block.chainid, address(this))
            );
    }

    /// @dev Records an update on top of `head_`, and returns the new head for the caller to store: a batch does it once.
    function _submit(
        bytes32 head_,
        address site,
        uint64 base,
        uint64 samples,
        bytes32 digest,
        uint64 size
    ) private returns (bytes32 newHead) {
        newHead = keccak256(
            abi.encode(head_, Kind.UpdateSubmitted, site, block.timestamp, base, samples, digest, size)
        );
        emit UpdateSubmitted(site, base, samples, Content(digest, size));
    }

    /// @dev Reverts with {UnknownBase}, {NoSamples} or {EmptyContent}.
    function _checkUpdate(uint64 versions_, uint64 base, uint64 samples, uint64 size) private pure {
        if (base >= versions_) revert UnknownBase(base, versions_);
        if (samples == 0) revert NoSamples();
        if (size == 0) revert EmptyContent();
    }

    /// @dev Reverts with {Unauthorized} unless one of the roles in `needed` is among `roles`.
    function _checkRole(address actor, uint32 roles, uint32 needed) private pure {
        if (roles & needed == 0) revert Unauthorized(actor, needed);
    }

    /// @dev Returns the one word that statements are in the head; reverts with {CertificateTooLong}.
    function _hash(bytes calldata certificate) private pure returns (bytes32) {
        if (certificate.length > MAX_BYTES) revert CertificateTooLong(certificate.length, MAX_BYTES);
        return keccak256(certificate);
    }

    /// @dev Reverts with {UnknownVersion} unless the number is given.
    function _checkPublished(uint64 version) private view {
        if (version >= _versions) revert UnknownVersion(version, _versions);
    }
}
