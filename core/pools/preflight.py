"""Preflight: who is asking, whether it is the same account as before, and whether they may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.core.errors import PreflightFailed, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolform.core.pools.contract import Finding, Identity


def require_same_account(pool_name: str, stored: Identity | None, current: Identity | None) -> None:
    """Refuse to touch a pool with the credentials of another account than it was made with. Raises PreflightFailed."""
    if stored is None or current is None:
        return
    for what in ("account", "region"):
        before, now = getattr(stored, what), getattr(current, what)
        if before is not None and now is not None and before != now:
            raise PreflightFailed(
                f"The pool {pool_name} belongs to {what} {before}, and {current.principal} is in {what} {now}.",
                hint=f"Use credentials of {what} {before}; nothing was changed.",
            )


def require_permissions(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings that could not be decided. Raises PreflightFailed, naming each thing that is missing."""
    settled: Sequence[Finding] = tuple(findings)
    missing = [finding for finding in settled if finding.verdict == "missing"]
    if missing:
        lines = "".join(f"\n  {f.subject}{f': {f.message}' if f.message else ''}" for f in missing)
        hints = dict.fromkeys(finding.hint for finding in missing if finding.hint)
        granted = any(finding.is_permission for finding in missing)
        granting = "Ask whoever administers the account to grant them." if granted else None
        raise PreflightFailed(f"{_failing(missing)}; nothing was changed:{lines}", hint=" ".join(hints) or granting)
    return tuple(finding for finding in settled if finding.verdict == "unknown")


def _failing(missing: Sequence[Finding]) -> str:
    """Say how much is missing, of permissions and of other things."""
    permissions = sum(finding.is_permission for finding in missing)
    others = len(missing) - permissions
    parts = []
    if permissions:
        parts.append(f"{permissions} permission{'s are' if permissions > 1 else ' is'} missing")
    if others:
        parts.append(f"{counted(others, 'check')} failed")
    return " and ".join(parts)
