"""Fuzzes the reading of answers with atheris, guided by the coverage of our own code.

atheris is no dependency of the tests (its wheels are for some platforms only). To run it for an hour::

    python -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install atheris -e .
    PYTHONPATH=tests /tmp/fuzz/bin/python tests/fuzz/response_parser.py -max_total_time=3600 -max_len=4096 corpus/

It starts from the examples of tests/support/answer_bytes.py and keeps what it finds in ``corpus/``. A crasher is left in the working folder as
``crash-…``: print it with ``response_parser.py --show crash-…`` and add it to ``CRASHERS`` of test_reading.py.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from support.answer_bytes import EXAMPLES, mutate_json, split

_WORDS = (
    *("TaskSet", "Task", "TaskId", "TaskStatus", "TotalCount", "OperationProgressSet", "OperationProgress", "ErrorMsg"),
    *("RelatedItemSet", "RelatedItem", "CreationTime", "TaskProcess", "secret-of-ours", "token%2Fof%2Bours%3D%25"),
    *("<Code>", "</Code>", "<![CDATA[", "]]>", "&#x", "Content-Encoding: gzip", "Date: ", "x-acs-retry-after: "),
    *("\\\\ud800", "\\\\u0000", "1e999", "NaN", "Infinity", "-0", "true", "null", "InvalidTimeStamp", "Throttling"),
)


def _fuzz(arguments: list[str]) -> None:
    import atheris  # noqa: PLC0415 - only where it is installed

    with atheris.instrument_imports(include=["ecs_waiter"]):
        from support.reading import read  # noqa: PLC0415 - what is instrumented is imported here

    folder = next((Path(name) for name in arguments[1:] if not name.startswith("-")), None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for number, example in enumerate(EXAMPLES):
            (folder / f"example-{number}").write_bytes(example)
        words = folder.with_suffix(".dict")
        words.write_text("".join(f'"{word}"\n' for word in _WORDS))
        arguments.append(f"-dict={words}")

    def mutate(data: bytes, largest: int, seed: int) -> bytes:
        draw = random.Random(seed)
        head, blank, body = data.partition(b"\n\n")
        changed = mutate_json(body, draw) if draw.random() < 0.5 else None
        if changed is None or len(head) + len(blank) + len(changed) > largest:
            return bytes(atheris.Mutate(data, largest))
        return head + blank + changed

    atheris.Setup(arguments, lambda data: read(*split(data)), custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--show"]:
        sys.stdout.write(f"{split(Path(sys.argv[2]).read_bytes())!r}\n")
    else:
        _fuzz(sys.argv)
