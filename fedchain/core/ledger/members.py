"""Members and their roles, at any seq: roles changed after the fact change nothing before it."""

from __future__ import annotations

from collections import defaultdict

from fedchain.core.ledger.records import Address, MemberSet, Record, Role, Seq


class Members:
    """Who had which roles when."""

    def __init__(self) -> None:
        self._changes: defaultdict[Address, list[tuple[Seq, Role]]] = defaultdict(list)

    def apply(self, record: Record, change: MemberSet) -> None:
        """Take a change of roles into account from its seq on."""
        self._changes[change.member].append((record.seq, change.roles))

    def roles(self, member: Address, seq: Seq) -> Role:
        """Return the roles that `member` held when the record `seq` was made."""
        held = [roles for since, roles in self._changes.get(member, ()) if since < seq]
        return held[-1] if held else Role.NONE

    def holding(self, role: Role, seq: Seq) -> list[Address]:
        """List the members that held `role` when the record `seq` was made, in order of first appearance."""
        return [member for member in self._changes if role in self.roles(member, seq)]
