from __future__ import annotations

from fedchain.simulation.clock import VirtualLoop


def pytest_asyncio_loop_factories(config: object, item: object) -> dict[str, type[VirtualLoop]]:
    """Run every test here in virtual time."""
    del config, item
    return {"virtual": VirtualLoop}
