from __future__ import annotations

from support.packages import load_package

load_package("benchmarks")
load_package("scripts")
