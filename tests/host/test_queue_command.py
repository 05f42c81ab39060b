"""`onebuf queue` on what the device wrote: real MicroPython's LittleFS, the device's own queue."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from devices import FIRMWARE, SCRIPTS

from host import cli, flash_image, flash_queue_format
from host.flash_queue_format import Record
from host.powercut import Laboratory

SENT, STORED = 30, 120  # as in scripts/queue_damage.py
LETTERS, REASONS = 80, (413, -90, 400)


def reading(i: int) -> bytes:
    """As in scripts/powercut.py."""
    return b"%d:" % i + bytes((i * 31 + k * 7) & 255 for k in range(16 + i * 37 % 70))


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    folder = tmp_path_factory.mktemp("laboratory")
    return Laboratory(SCRIPTS / "queue_damage.py", FIRMWARE, folder)


@pytest.fixture(scope="module")
def image(laboratory: Laboratory) -> Path:
    """A dump of a board's flash, with STORED readings that wait."""
    laboratory.call("store", "image")
    return laboratory.folder / "image"


@pytest.fixture
def folder(image: Path, tmp_path: Path) -> Path:
    """The queue's files of the same dump, in a folder."""
    queue = tmp_path / "queue"
    queue.mkdir()
    for name, octets in flash_image.files(image).items():
        (queue / Path(name).name).write_bytes(octets)
    return queue


def exported(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[bytes]:
    """The payloads that `onebuf queue export` prints."""
    capsys.readouterr()
    assert cli.main(["queue", "export", *map(str, arguments)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    numbers = [line["sequence"] for line in lines]
    assert numbers == sorted(set(numbers))
    return [
        line["payload"].encode() if "payload" in line else base64.b64decode(line["base64"])
        for line in lines
    ]


def segment(folder: Path) -> Path:
    """The file in which the middle reading lies."""
    return next(path for path in sorted(folder.iterdir()) if reading(60) in path.read_bytes())


def damage(path: Path, octets: bytes) -> None:
    """Flip a bit of octets, which stand in the file."""
    content = bytearray(path.read_bytes())
    content[content.index(octets) + 3] ^= 4
    path.write_bytes(content)


def test_export_of_an_image_prints_what_the_device_queued(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(capsys, image) == [reading(i) for i in range(SENT, STORED)]


def test_image_inside_a_dump_of_the_whole_flash_is_found_at_its_offset(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = tmp_path / "flash.bin"
    dump.write_bytes(bytes(0x10000) + image.read_bytes() + b"\xff" * 4096)
    payloads = exported(capsys, dump, "--offset", "0x10000", "--block-size", "4096")
    assert payloads == [reading(i) for i in range(SENT, STORED)]


def test_folder_gives_the_same_as_the_image(
    image: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(capsys, folder) == exported(capsys, image, "--folder", "/queue")


def test_list_names_every_segment_the_cursor_and_how_many_wait(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["queue", "list", str(image)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("cursor ") and lines[-1].endswith(f" {STORED - SENT} waiting")
    assert sum(int(line.split()[2]) for line in lines[1:-1]) >= STORED


def test_verify_of_an_intact_queue_finds_nothing(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["queue", "verify", str(image)]) == 0
    assert capsys.readouterr().out == f"{STORED - SENT} waiting, 0 problems, 0 gaps\n"


def test_flipped_bit_is_told_and_the_other_segments_are_exported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = segment(folder)
    damage(path, reading(60))
    assert cli.main(["queue", "verify", str(folder)]) == 1
    assert f"{path.name}: CRC" in capsys.readouterr().err
    payloads = exported(capsys, folder)
    assert reading(60) not in payloads and reading(59) in payloads
    assert payloads[-1] == reading(STORED - 1)


def test_torn_tail_is_told_and_what_stands_before_it_is_exported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = segment(folder)
    path.write_bytes(path.read_bytes().partition(reading(60))[0] + reading(60)[:9])
    assert cli.main(["queue", "verify", str(folder)]) == 1
    assert f"{path.name}: torn tail" in capsys.readouterr().err
    assert reading(59) in exported(capsys, folder)


def test_missing_numbers_are_told_as_a_gap_which_is_no_damage(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    octets = b"".join(flash_queue_format.write([Record(60, reading(60))]).values())[12:]
    path = segment(folder)
    assert octets in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(octets, b""))
    assert cli.main(["queue", "verify", str(folder)]) == 0
    assert f"{path.name}: 1 missing before 61" in capsys.readouterr().err


def test_repaired_queue_is_clean_and_the_device_forwards_it_and_the_original_is_untouched(
    folder: Path,
    laboratory: Laboratory,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(segment(folder), reading(60))
    before = flash_image.files(folder)
    kept = exported(capsys, folder)
    target = tmp_path / "repaired"
    assert cli.main(["queue", "repair", str(folder), str(target)]) == 0
    assert flash_image.files(folder) == before
    assert exported(capsys, target) == kept
    assert cli.main(["queue", "verify", str(target)]) == 0
    [out] = laboratory.call("drain", str(target))
    assert [reading(i) for i in out] == kept


def test_repair_overwrites_nothing(image: Path, folder: Path) -> None:
    before = flash_image.files(folder)
    with pytest.raises(SystemExit, match="not empty"):
        cli.main(["queue", "repair", str(image), str(folder)])
    assert flash_image.files(folder) == before


def test_text_is_exported_as_text_and_other_payloads_in_base64(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [Record(0, '{"t":"21 °C"}'.encode()), Record(1, b"\xff")]
    for name, octets in flash_queue_format.write(records).items():
        (tmp_path / name).write_bytes(octets)
    cli.main(["queue", "export", str(tmp_path)])
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"sequence": 0, "payload": '{"t":"21 °C"}'},
        {"sequence": 1, "base64": "/w=="},
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "no LittleFS"), (b"\xff" * 65536, "no LittleFS"), (None, "the image ends")],
)
def test_file_that_is_no_whole_image_is_refused_in_one_line(
    content: bytes | None, reason: str, image: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(image.read_bytes()[:-4096] if content is None else content)
    with pytest.raises(SystemExit, match=reason):
        cli.main(["queue", "verify", str(other)])


def test_folder_without_a_queue_and_one_with_two_are_refused(folder: Path) -> None:
    with pytest.raises(SystemExit, match="a queue: none"):
        cli.main(["queue", "list", str(folder), "--folder", "elsewhere"])
    second = folder / "second"
    second.mkdir()
    for path in list(folder.glob("*")):
        if path.is_file():
            (second / path.name).write_bytes(path.read_bytes())
    with pytest.raises(SystemExit, match="several"):
        cli.main(["queue", "list", str(folder)])


# -- Dead letters ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dead(laboratory: Laboratory) -> Path:
    """A dump of a board's flash, with dead letters in /dead and /dead.old."""
    laboratory.call("letters", "dead")
    return laboratory.folder / "dead"


@pytest.fixture
def copied(dead: Path, tmp_path: Path) -> Path:
    """The same files, copied off the board."""
    for name, octets in flash_image.files(dead).items():
        (tmp_path / name).write_bytes(octets)
    return tmp_path


def letters(
    capsys: pytest.CaptureFixture[str], source: Path, name: str = "dead"
) -> list[tuple[int, str, bytes]]:
    """What `onebuf queue export --letters` prints: reason, meaning, payload."""
    capsys.readouterr()
    assert cli.main(["queue", "export", str(source), "--letters", name]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [
        (
            line["reason"],
            line["meaning"],
            line["payload"].encode() if "payload" in line else base64.b64decode(line["base64"]),
        )
        for line in lines
    ]


def test_dead_letters_of_an_image_and_of_a_folder_are_exported_oldest_first_with_the_reason(
    dead: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sorted(path.name for path in copied.iterdir()) == ["dead", "dead.old"]
    found = letters(capsys, dead, "/dead")
    meanings = {reason: text for reason, text, _ in found}
    assert meanings.keys() == set(REASONS)
    assert meanings[413] == "status 413" and meanings[-90].startswith("EMSGSIZE: ")
    assert [(reason, payload) for reason, _, payload in found] == [
        (REASONS[i % len(REASONS)], reading(i)) for i in range(LETTERS)
    ]
    assert letters(capsys, copied) == found


def test_list_of_dead_letters_has_a_line_for_each(
    dead: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["queue", "list", str(dead), "--letters", "dead"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + LETTERS
    assert lines[1].split() == ["413", str(len(reading(0))), "status", "413"]


def test_damaged_dead_letter_is_told_and_the_others_are_exported(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["queue", "verify", str(copied), "--letters", "dead"]) == 0
    assert capsys.readouterr().out == f"{LETTERS} letters, 0 problems\n"
    damage(copied / "dead", reading(LETTERS - 9))
    torn = (copied / "dead").read_bytes()[:-3]
    (copied / "dead").write_bytes(torn)
    assert cli.main(["queue", "verify", str(copied), "--letters", "dead"]) == 1
    told = capsys.readouterr()
    assert told.out == f"{LETTERS - 2} letters, 2 problems\n"
    assert told.err.count("onebuf: dead: CRC: octets ") == 2
    kept = [payload for _, _, payload in letters(capsys, copied)]
    lost = {LETTERS - 9, LETTERS - 1}
    assert kept == [reading(i) for i in range(LETTERS) if i not in lost]


def test_where_there_are_no_dead_letters_that_is_said(image: Path) -> None:
    with pytest.raises(SystemExit, match="no dead letters in dead"):
        cli.main(["queue", "export", str(image), "--letters", "dead"])
