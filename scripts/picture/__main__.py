"""Makes the README's moving picture: records a real run of the command, and draws it.

    make picture           # or: python -m scripts.picture

The recording is kept beside the picture (docs/assets/terminal.cast, which `asciinema play` shows too); with the word
``draw`` the picture is drawn anew from it, without a run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.picture.scene import LINE, play
from scripts.picture.screens import screens
from scripts.picture.session import Session
from scripts.picture.svg import draw

ASSETS = Path(__file__).parents[2] / "docs" / "assets"
RECORDING = ASSETS / "terminal.cast"
PICTURE = ASSETS / "terminal.svg"


def drawn(session: Session) -> str:
    """The picture of a session of the scene."""
    return draw(
        list(screens(session)),
        title="ecs-waiter waits for eight tasks in two regions",
        description=f"A terminal in which `{LINE}` runs: a bar and a line for each task show how far they are; one "
        "of them fails, with the service's reason; a table at the end says what became of each.",
        columns=session.columns,
    )


if __name__ == "__main__":
    if sys.argv[1:] != ["draw"]:
        play().save(RECORDING)
    PICTURE.write_text(drawn(Session.load(RECORDING)), encoding="utf-8")
