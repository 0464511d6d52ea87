"""Policies, read a second time. Strategies and encodings are the modules of the folders beside this file."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from oracle.formats import parse

FAR = 2**31 - 1


def policy_of(data: bytes) -> dict[str, Any] | None:
    """Read a policy; None for bytes that are none."""
    policy = parse(data)
    try:
        admission, buffer, strategy = policy["admission"], policy["buffer"], policy["strategy"]
        encodings = policy["encodings"]
        good = [
            policy.keys() == {"admission", "buffer", "encodings", "format", "sealing", "strategy"},
            (policy["format"], policy["sealing"]) == ("fedchain/policy/2", "none"),
            admission.keys() == {"max_change", "max_norm", "max_staleness", "updates_per_site"},
            buffer.keys() == {"per_site", "size", "timeout_s"},
            buffer["size"] == "all" or _within(buffer["size"], 1, 2**15 - 1),
            all(_within(buffer[key], 1, FAR) for key in ("per_site", "timeout_s")),
            _within(admission["max_staleness"], 0, 2**53 - 1),
            admission["updates_per_site"] is None or _within(admission["updates_per_site"], 1, FAR),
            all(admission[key] is None or _is_rate(admission[key]) for key in ("max_change", "max_norm")),
            strategy.keys() == module("strategies", strategy["name"]).KEYS,
            _is_rate(strategy.get("rate", 1)) and strategy.get("rate", 1) <= 1000,
            module("strategies", strategy["name"]).is_valid(strategy, buffer["size"]),
            0 < len(encodings) == len({one["name"] for one in encodings}),
            all(one.keys() == module("encodings", one["name"]).KEYS for one in encodings),
            all(module("encodings", one["name"]).is_valid(one) for one in encodings),
        ]
    except (TypeError, KeyError, AttributeError, ImportError, ValueError):
        return None
    return policy if all(good) else None


def _within(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _is_rate(value: Any) -> bool:
    return type(value) in (int, float) and value > 0


def module(folder: str, name: str) -> ModuleType:
    """Return the strategy or encoding of a name; raises ValueError, ImportError."""
    if not (isinstance(name, str) and name.isalnum()):
        raise ValueError(name)
    return import_module(f"oracle.{folder}.{name}")
