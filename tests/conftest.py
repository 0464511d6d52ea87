"""What all tests share: they may import from each other's folders, as in `from simulation.audits import …`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
