"""The regions that the emulator knows from the start; adding a task to another one opens that too."""

from __future__ import annotations

__all__ = ["PUBLIC_REGIONS"]

_NAMES = """
    cn-qingdao cn-beijing cn-zhangjiakou cn-huhehaote cn-wulanchabu cn-hangzhou cn-shanghai cn-nanjing cn-fuzhou
    cn-shenzhen cn-heyuan cn-guangzhou cn-chengdu cn-hongkong cn-wuhan-lr cn-zhengzhou-jva
    cn-north-2-gov-1 cn-hangzhou-finance cn-shanghai-finance-1 cn-shenzhen-finance-1 cn-beijing-finance-1
    ap-northeast-1 ap-northeast-2 ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-5 ap-southeast-6
    ap-southeast-7 ap-south-1 us-east-1 us-west-1 na-south-1 eu-central-1 eu-west-1 me-east-1 me-central-1
"""

PUBLIC_REGIONS = frozenset(_NAMES.split())
