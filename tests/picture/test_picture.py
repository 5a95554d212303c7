"""The README's moving picture is drawn from a recorded run, by the script that is here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from scripts.picture import __main__ as script
from scripts.picture.scene import LINE
from scripts.picture.screens import Run, Screen, screens
from scripts.picture.session import Session, record
from scripts.picture.svg import draw

if TYPE_CHECKING:
    from pathlib import Path

PICTURE = script.PICTURE.read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def session() -> Session:
    """The recorded run."""
    return Session.load(script.RECORDING)


def _words(screen: Screen) -> str:
    return "\n".join(" ".join(run.text for run in row) for row in screen.rows)


def test_drawn_from_the_recording(session: Session) -> None:
    """The picture is what the script draws of the recording, to the byte."""
    assert script.drawn(session) == PICTURE


def test_what_it_shows(session: Session) -> None:
    """It begins at a prompt where the command is typed, shows the live view, and ends with what became of each task."""
    first, *between, last = map(_words, screens(session))
    assert first.strip() == "$"
    assert any("8 processing" in shown and "0/8" in shown for shown in between)
    assert any(re.search(r"t-\w+ +\d+% +processing", shown) for shown in between)
    assert f"$ {LINE}" in " ".join(last.split())
    assert "failed: ImageFormatMismatch: not a qcow2 file" in last
    assert "7 finished, 1 failed" in last


def test_stands_alone() -> None:
    """It is well-formed, small, and an image without scripts that asks nothing of any network."""
    root = ET.fromstring(PICTURE)  # noqa: S314 - our own
    names = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert names <= {"svg", "title", "desc", "style", "defs", "g", "text", "use", "rect", "circle"}
    links = {value for element in root.iter() for name, value in element.attrib.items() if name.endswith("href")}
    assert all(link.startswith("#r") for link in links)
    assert "url(" not in PICTURE
    assert "@import" not in PICTURE
    assert len(PICTURE.encode()) < 150_000


def test_frames(session: Session) -> None:
    """Each screen is one frame of the film, and has its moment in it."""
    film = next(element for element in ET.fromstring(PICTURE).iter(f"{SVG}g") if element.get("id") == "film")  # noqa: S314
    count = len(list(screens(session)))
    assert len(film) == count
    moments = [float(share) for share in re.findall(r"([0-9.]+)%\{transform", PICTURE)]
    assert len(moments) == count
    assert moments == sorted(set(moments))


def test_gentle() -> None:
    """Who asks for reduced motion sees the last screen, still."""
    assert "@media (prefers-reduced-motion:reduce){#film{animation:none}}" in PICTURE
    still = re.search(r"#film\{transform:(translateX\(-\d+px\))", PICTURE)
    last = re.findall(r"%\{transform:(translateX\(-\d+px\))", PICTURE)[-1]
    assert still is not None
    assert still[1] == last


def test_recording(tmp_path: Path) -> None:
    """What a command writes on its terminal is kept whole, through a file too, and its colours are drawn."""
    made = record(r"printf '\033[31mgr\303\266n\033[0m <%s>' $WORD", {"WORD": "a&b"}, tmp_path, columns=20, lines=5)
    made.save(tmp_path / "made.cast")
    session = Session.load(tmp_path / "made.cast")
    assert session == made
    *_, last = screens(session)
    assert [row for row in last.rows if row][-1] == (Run(0, "grön", "red"), Run(4, " <a&b>", "default"))
    assert "&lt;a&amp;b&gt;</text>" in draw([last], title="t", description="d", columns=20)


def test_runs_stay_in_their_columns() -> None:
    """Two blanks divide a run, and dim text is drawn in bright black."""
    session = Session(12, 1, ((0.0, "ab  cd\x1b[2m ef"),))
    (only,) = screens(session)
    assert only.rows == ((Run(0, "ab", "default"), Run(4, "cd", "default"), Run(6, " ef", "brightblack")),)
