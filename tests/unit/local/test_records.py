"""The record of what runs, and the lock around changing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from publishing.local.errors import RunDirectoryBusyError, RunDirectoryError
from publishing.local.records import FILE_NAME, Record, locked, read, write

pytestmark = pytest.mark.unit

RECORD = Record(port=15_001, address="127.0.0.1:15001", pid=7, started="1234")


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Port, address, pid and start time survive the file."""
    write(tmp_path, {"kafka": RECORD})
    assert read(tmp_path) == {"kafka": RECORD}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kafka": 1}', '{"kafka": {"pid": 1}}'])
def test_a_damaged_record_counts_as_none(tmp_path: Path, text: str) -> None:
    """What cannot be read names no server, so nothing is ended by mistake."""
    (tmp_path / FILE_NAME).write_text(text)
    assert read(tmp_path) == {}


def test_writing_leaves_no_draft(tmp_path: Path) -> None:
    """The file is replaced in one step."""
    write(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_directory_that_takes_no_file_is_said(tmp_path: Path) -> None:
    """The error names the directory and the system's reason."""
    with pytest.raises(RunDirectoryError, match="No such file"):
        write(tmp_path / "absent", {})
    with pytest.raises(RunDirectoryError, match="No such file"), locked(tmp_path / "absent"):
        pass


def test_the_lock_keeps_a_second_command_out(tmp_path: Path) -> None:
    """While one holds it, another one gives up after its patience; afterwards it is free."""
    with locked(tmp_path), pytest.raises(RunDirectoryBusyError), locked(tmp_path, patience_s=0.0):
        pass
    with locked(tmp_path, patience_s=0.0):
        pass
