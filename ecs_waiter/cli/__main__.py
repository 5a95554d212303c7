"""``python -m ecs_waiter.cli`` is ``ecs-waiter``."""

from __future__ import annotations

import sys

from ecs_waiter.cli import main

if __name__ == "__main__":
    sys.exit(main())
