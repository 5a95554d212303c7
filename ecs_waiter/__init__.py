"""Wait for long-running Alibaba Cloud ECS tasks: many waits, few calls."""

__version__ = "0.1.0"
