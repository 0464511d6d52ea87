// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/**
 * @dev What a blob is called on chain: enough to find it, and to refuse a byte too many. With the UnixFS profile
 * unixfs-v1-2025 (IPIP-499) the codec follows from the size, so the pair is the CID. Zeros mean "no content".
 */
struct Content {
    /// sha2-256 of the root block: the multihash inside the CID.
    bytes32 digest;
    /// Length of the blob in bytes.
    uint64 size;
}

/**
 * @dev An update that its site signed and that anyone may bring. The signature is EIP-712, over
 * `SignedUpdate(address site,uint64 base,uint64 samples,bytes32 digest,uint64 size,uint64 nonce,uint64 deadline)`.
 */
struct SignedUpdate {
    /// Who signed, and who answers for the update.
    address site;
    /// Version that the site trained on.
    uint64 base;
    /// Examples that the site says it trained on.
    uint64 samples;
    /// The update itself.
    Content content;
    /// How many updates of this site were relayed before: each signature counts once, in order.
    uint64 nonce;
    /// Last block time, in seconds since 1970, at which the ledger takes it.
    uint64 deadline;
    /// r, s, v: 65 bytes, s in the lower half (EIP-2), v 27 or 28.
    bytes signature;
}

/// @dev The kinds of record as the head counts them.
enum Kind {
    None,
    PolicySet,
    MemberSet,
    UpdateSubmitted,
    BufferClosed,
    ModelPublished,
    EvaluationReported,
    Attested,
    ContentErased,
    ShareGiven
}

/// @dev What a member may do: a set of bits in one word.
library Roles {
    uint32 internal constant GOVERNOR = 1;
    uint32 internal constant TRAINER = 2;
    uint32 internal constant AGGREGATOR = 4;
    uint32 internal constant AUDITOR = 8;
    uint32 internal constant ALL = GOVERNOR | TRAINER | AGGREGATOR | AUDITOR;
}

/**
 * @title The audit trail of one federation
 * @notice Who submitted which update to which version of the shared model, who published what, and in which order.
 * @dev Every record is one event, and extends one running hash:
 *
 *     head_0 = keccak256(abi.encode(chain id, this contract, predecessor, predecessor's last head))
 *     head_n = keccak256(abi.encode(head_{n-1}, kind, actor, block.timestamp, payload words…))
 *
 * The payload words are the event's arguments after the actor, in order, each one word; a content is two words,
 * digest and size; bytes are one word, their keccak256 (as EIP-712 encodes them). A record's seq is its position, from
 * 0: readers count, the contract does not. So one call of {head} proves or refutes any copy of the records.
 *
 * The rules here are those that protect the order and the authorship of records. What a record means for the model -
 * admission, staleness, which claim is a version, when a buffer closes, whose content may be called erased - readers
 * decide from the records alone (`fedchain/core/rules/history.py`). Nothing personal belongs here: no names, no free text, no hash of a dataset.
 */
interface IFederationLedger {
    // ------------------------------------------------------------------------------------------------ records

    /// @notice A governor fixed the rules from here on.
    /// @param actor The governor.
    /// @param policy The policy document itself, so that it can never be missing.
    event PolicySet(address indexed actor, bytes policy);

    /// @notice A governor gave an address its roles. Record 0 is the first governor's own.
    /// @param actor The governor.
    /// @param member Whose roles they are.
    /// @param roles All roles that it has from here on, see {Roles}; 0 for none.
    /// @param profile Who the member is, off the chain; zeros for none.
    event MemberSet(address indexed actor, address indexed member, uint32 roles, Content profile);

    /// @notice A trainer offered its change to a base version.
    /// @param actor The site: sender of the transaction, or signer of a relayed update.
    /// @param base Version that the site trained on.
    /// @param samples Examples that the site says it trained on.
    /// @param content The update.
    event UpdateSubmitted(address indexed actor, uint64 base, uint64 samples, Content content);

    /// @notice A member said that the open buffer's time is over, or a governor set the model back.
    /// @param actor The member.
    /// @param from Seq of the {ModelPublished} to go on from; 0, which never is one, where this is no restart.
    /// @param certificate Statements of holders, 121 bytes each; often none.
    event BufferClosed(address indexed actor, uint64 from, bytes certificate);

    /// @notice An aggregator claimed what a version of the model is. Of several claims of a number readers take one.
    /// @param actor The aggregator.
    /// @param version Its number: 0 for genesis.
    /// @param through Seq of the last record that it consumed; 0 for genesis.
    /// @param head The head after record `through`.
    /// @param model The model.
    /// @param manifest How the model was made.
    /// @param certificate Statements of holders, 121 bytes each; often none.
    event ModelPublished(
        address indexed actor,
        uint64 version,
        uint64 through,
        bytes32 head,
        Content model,
        Content manifest,
        bytes certificate
    );

    /// @notice A trainer or auditor reported how a version does on data of its own.
    /// @param actor The member.
    /// @param version The version.
    /// @param report The report.
    event EvaluationReported(address indexed actor, uint64 version, Content report);

    /// @notice A member put its name to a claim or an update.
    /// @param actor The member.
    /// @param seq The record that it speaks of.
    /// @param meaning What it says: 1 recomputed, 2 refused, 3 approved, 4 withdrawn; others are the readers' to know.
    /// @param evidence What it goes by; zeros for none.
    event Attested(address indexed actor, uint64 seq, uint16 meaning, Content evidence);

    /// @notice A member said that a content's key is destroyed. Counts when the content is its own or it governs.
    /// @param actor The member.
    /// @param seq The record whose content is gone.
    /// @param reason The federation's own code for why.
    event ContentErased(address indexed actor, uint64 seq, uint16 reason);

    /// @notice A member gave its share of the key to a sum of masked updates.
    /// @param actor The member.
    /// @param closing Seq of the record that froze the set of updates.
    /// @param digest sha2-256 that names the set.
    /// @param content The share.
    event ShareGiven(address indexed actor, uint64 closing, bytes32 digest, Content content);

    // ------------------------------------------------------------------------------------------------- errors

    /// @notice `actor` has none of the roles in `needed`.
    error Unauthorized(address actor, uint32 needed);

    /// @notice The update is to a number that no version has yet: only `versions` are given, counted from 0.
    error UnknownBase(uint64 base, uint64 versions);

    /// @notice The claim leaves numbers out: `next` is the highest that it may have.
    error WrongVersion(uint64 given, uint64 next);

    /// @notice No version has this number yet: only `versions` are given, counted from 0.
    error UnknownVersion(uint64 version, uint64 versions);

    /// @notice The update says that it was trained on nothing.
    error NoSamples();

    /// @notice The update has no content.
    error EmptyContent();

    /// @notice `roles` has bits that name no role.
    error UnknownRoles(uint32 roles);

    /// @notice `governor` is the last one: without it nobody could ever change policy or members.
    error LastGovernor(address governor);

    /// @notice The signature is not `site`'s over these values, or not in the one form that is allowed.
    error BadSignature(address site);

    /// @notice The attestation says nothing.
    error NoMeaning();

    /// @notice A federation needs a governor.
    error NoGovernor();

    /// @notice The batch has no update that can be recorded now.
    error NoUpdates();

    /// @notice The policy has `given` bytes, and may have `limit`.
    error PolicyTooLong(uint256 given, uint256 limit);

    /// @notice The certificate has `given` bytes, and may have `limit`.
    error CertificateTooLong(uint256 given, uint256 limit);

    // ------------------------------------------------------------------------------------------------ actions

    /**
     * @notice Fix the rules from here on.
     * @dev Emits {PolicySet}. Reverts with {Unauthorized} unless the sender is a governor, and with {PolicyTooLong}.
     * Whether the bytes are a policy, readers judge: what is none leaves the one before in force.
     * @param policy The policy document, at most 32,768 bytes.
     */
    function setPolicy(bytes calldata policy) external;

    /**
     * @notice Give an address its roles: all that it has from here on, 0 takes them away.
     * @dev Emits {MemberSet}. Reverts with {Unauthorized} unless the sender is a governor, with {UnknownRoles}, and
     * with {LastGovernor}. The member's nonce stays, so old signatures stay void when it comes back.
     * @param account The address.
     * @param roles Its roles, see {Roles}.
     * @param profile Who the member is, off the chain; zeros for none.
     */
    function setMember(address account, uint32 roles, Content calldata profile) external;

    /**
     * @notice Offer a change to a base version; the transaction is the signature.
     * @dev Emits {UpdateSubmitted}. Reverts with {Unauthorized} unless the sender is a trainer, with {UnknownBase},
     * {NoSamples} and {EmptyContent}.
     * @param base Version that the site trained on.
     * @param samples Examples that it trained on.
     * @param content The update.
     */
    function submitUpdate(uint64 base, uint64 samples, Content calldata content) external;

    /**
     * @notice Bring updates that their sites signed. Anyone may; they are recorded in this order.
     * @dev Emits one {UpdateSubmitted} for each that is recorded, with the site as actor. What its relay could not
     * foresee costs an update only itself: where the site is not a trainer now, the nonce is not its next one, or the
     * block's time is past the deadline, the update is left out. What can be seen beforehand costs the batch: reverts,
     * for the first update that is wrong, with {BadSignature}, {UnknownBase}, {NoSamples} or {EmptyContent}, tried in
     * this order, and with {NoUpdates} when none is recorded.
     * @param updates The updates; several of one site in the order of their nonces.
     */
    function submitUpdates(SignedUpdate[] calldata updates) external;

    /**
     * @notice Say that the open buffer's time is over; or, as a governor, set the model back to an earlier claim.
     * @dev Emits {BufferClosed}. Reverts with {Unauthorized} unless the sender has any role or, where `from` is not 0,
     * is a governor, and with {CertificateTooLong}. A restart takes the next version number.
     * @param from Seq of the {ModelPublished} to go on from; 0 for none.
     * @param certificate Statements of holders, at most 32,768 bytes.
     */
    function closeBuffer(uint64 from, bytes calldata certificate) external;

    /**
     * @notice Claim what a version of the model is.
     * @dev Emits {ModelPublished}. Reverts with {Unauthorized} unless the sender is an aggregator, with {WrongVersion}
     * and {CertificateTooLong}. A number may be claimed again, whoever claimed it before: readers tell which claim
     * follows from the records.
     * @param version Its number: at most how many numbers are given already.
     * @param through Seq of the last record that it consumed; 0 for genesis.
     * @param head_ The head after record `through`.
     * @param model The model.
     * @param manifest How the model was made.
     * @param certificate Statements of holders, at most 32,768 bytes.
     */
    function publishModel(
        uint64 version,
        uint64 through,
        bytes32 head_,
        Content calldata model,
        Content calldata manifest,
        bytes calldata certificate
    ) external;

    /**
     * @notice Report how a version does on data of one's own.
     * @dev Emits {EvaluationReported}. Reverts with {Unauthorized} unless the sender is a trainer or an auditor, and
     * with {UnknownVersion}.
     * @param version The version.
     * @param report The report.
     */
    function reportEvaluation(uint64 version, Content calldata report) external;

    /**
     * @notice Put one's name to a claim or an update.
     * @dev Emits {Attested}. Reverts with {Unauthorized} unless the sender has any role, and with {NoMeaning}. What the
     * record is and what the meaning says, readers judge.
     * @param seq The record that one speaks of.
     * @param meaning What one says of it, see {Attested}; not 0.
     * @param evidence What one goes by; zeros for none.
     */
    function attest(uint64 seq, uint16 meaning, Content calldata evidence) external;

    /**
     * @notice Say that a content's key is destroyed.
     * @dev Emits {ContentErased}. Reverts with {Unauthorized} unless the sender has any role. Whose content it is,
     * readers judge: the contract keeps nothing about single records.
     * @param seq The record whose content is gone.
     * @param reason The federation's own code for why.
     */
    function eraseContent(uint64 seq, uint16 reason) external;

    /**
     * @notice Give one's share of the key to a sum of masked updates.
     * @dev Emits {ShareGiven}. Reverts with {Unauthorized} unless the sender has any role.
     * @param closing Seq of the record that froze the set of updates.
     * @param digest sha2-256 that names the set.
     * @param content The share.
     */
    function giveShare(uint64 closing, bytes32 digest, Content calldata content) external;

    // -------------------------------------------------------------------------------------------------- views

    /// @notice The running hash over all records so far.
    function head() external view returns (bytes32);

    /// @notice How many version numbers are given: the newest is one less, and there is none at 0.
    function versions() external view returns (uint64);

    /// @notice What an address may do, and the nonce that its next relayed update must carry.
    /// @param account The address.
    /// @return roles Its roles, see {Roles}; 0 when it is no member.
    /// @return nonce How many of its updates were relayed.
    function member(address account) external view returns (uint32 roles, uint64 nonce);

    /// @notice The contract that this one goes on from, and that contract's last head; zeros when it is the first.
    /// @return ledger The contract.
    /// @return lastHead Its last head.
    function predecessor() external view returns (address ledger, bytes32 lastHead);

    /// @notice The EIP-712 domain of relayed updates, as EIP-5267 has it.
    /// @return fields Which of the values below are part of the domain, a bit each.
    /// @return name "fedchain".
    /// @return version "2".
    /// @return chainId The chain's id.
    /// @return verifyingContract This contract.
    /// @return salt Not used.
    /// @return extensions Not used.
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
        );
}
