"""Locks among processes, and files and folders that several processes write at the same time."""

import contextlib
import errno
import logging
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from filelock import FileLock

from limbeck.artefacts import Artefacts, damage, write_json
from limbeck.config import ConfigError
from limbeck.locks import BusyError, holder, is_held, locked
from limbeck.unfinished import beside, set_aside, whole_file, whole_folder, write_text

HERE = socket.gethostname()


@contextlib.contextmanager
def child(work):
    """Run some work in a process, and kill it at the end."""
    number = os.fork()
    if not number:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield number
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(number, 0)


def until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def hold(path):
    with locked(path, "a thing"):
        signal.pause()


def hold_until(path, sign):
    with locked(path, "a thing"):
        until(sign.exists)


# -- locks --------------------------------------------------------------------------------------------------------


def test_a_process_that_waits_says_so_in_one_line_and_goes_on(tmp_path, caplog):
    caplog.set_level(logging.INFO, "limbeck")
    lock, sign = tmp_path / "lock", tmp_path / "sign"
    with child(lambda: hold_until(lock, sign)) as number:
        until(lambda: is_held(lock))
        handler = logging.Handler()
        handler.emit = lambda record: sign.touch()  # the holder ends when the line has appeared
        logging.getLogger("limbeck.locks").addHandler(handler)
        with locked(lock, "a thing") as waited:
            assert waited
            assert holder(lock) == f"process {os.getpid()} on host {HERE}"
        logging.getLogger("limbeck.locks").removeHandler(handler)
    assert caplog.messages == [f"waiting for a thing (held by process {number} on host {HERE})"]


def test_a_free_lock_is_taken_without_a_word_and_given_back(tmp_path, caplog):
    caplog.set_level(logging.INFO, "limbeck")
    for _ in range(2):
        with locked(tmp_path / "lock", "a thing") as waited:
            assert not waited
            assert is_held(tmp_path / "lock")
        assert not is_held(tmp_path / "lock")
    assert not caplog.messages
    assert holder(tmp_path / "lock") == "another process"


def test_a_killed_holder_is_no_holder(tmp_path):
    lock = tmp_path / "lock"
    with child(lambda: hold(lock)):
        until(lambda: is_held(lock))
    with locked(lock, "a thing") as waited:
        assert not waited


def test_a_killed_holder_is_no_holder_though_its_child_lives(tmp_path):
    lock, born = tmp_path / "lock", tmp_path / "born"

    def hold_with_child():
        with locked(lock, "a thing"):
            number = os.fork()  # as the workers of a loader are
            if number:
                born.write_text(str(number))
            signal.pause()

    with child(hold_with_child):
        until(lambda: born.exists() and born.read_text())
        assert is_held(lock)
    try:
        assert not is_held(lock)
    finally:
        os.kill(int(born.read_text()), signal.SIGKILL)


def test_who_does_not_wait_is_refused_by_name(tmp_path):
    lock = tmp_path / "lock"
    with child(lambda: hold(lock)) as number:
        until(lambda: is_held(lock) and str(number) in holder(lock))
        message = rf"another process is working on a thing \(process {number} on host {HERE}\); wait for it or end it"
        with pytest.raises(BusyError, match=message), locked(lock, "a thing", wait=False):
            pass


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(ConfigError, match=f"{tmp_path / 'lock'} cannot be locked: its file system has no locks"):
        locked(tmp_path / "lock", "a thing").__enter__()


# -- files and folders --------------------------------------------------------------------------------------------


def test_a_file_is_whole_whoever_writes_it(tmp_path):
    """Writers of one name, side by side: what lies there is always that of one of them."""
    target = tmp_path / "file"
    texts = [letter * 200_000 for letter in "abcd"]

    def write(text):
        while True:
            write_text(target, text)

    with contextlib.ExitStack() as stack:
        for text in texts:
            stack.enter_context(child(lambda text=text: write(text)))
        until(target.exists)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            assert target.read_text() in texts
    write_text(target, "the end")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # what the killed writers have left is gone


def test_an_error_leaves_nothing_and_what_was_there_stays(tmp_path):
    write_text(tmp_path / "file", "before")
    with contextlib.suppress(KeyError), whole_file(tmp_path / "file") as path:
        path.write_text("half")
        raise KeyError
    with pytest.raises(KeyError):
        whole_folder(tmp_path / "folder", lambda path: {}["x"], is_whole=lambda: False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "before"


def test_only_what_ended_processes_have_left_is_removed(tmp_path):
    with child(signal.pause) as alive:
        pass
    ended = alive  # it was killed and waited for
    with child(signal.pause) as running:
        mine = tmp_path / f".x.{HERE}.{running}-1.unfinished"
        dead = tmp_path / f".x.{HERE}.{ended}-1.unfinished"
        elsewhere, long_ago = tmp_path / ".x.elsewhere.7-1.unfinished", tmp_path / ".x.elsewhere.8-1.unfinished"
        earlier_version, of_others = tmp_path / "x.unfinished", tmp_path / f".xy.{HERE}.{ended}-1.unfinished"
        for path in (mine, dead, elsewhere, long_ago, earlier_version, of_others):
            path.mkdir()
        os.utime(long_ago, (1e9, 1e9))
        beside(tmp_path / "x")
        assert set(tmp_path.iterdir()) == {mine, elsewhere, of_others}


# -- artefacts ----------------------------------------------------------------------------------------------------


def test_a_damaged_artefact_is_named_and_built_again(tmp_path, caplog):
    artefacts, built = Artefacts(tmp_path), []

    def build(folder):
        built.append(1)
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("content")
        (folder / ".lock").write_text("")

    folder = artefacts.folder("things", {"a": 1}, build)
    (folder / ".lock").write_text("7 host")  # who holds a lock is no damage
    assert artefacts.folder("things", {"a": 1}, build) == folder
    assert len(built) == 1
    for harm, said in (
        (lambda: (folder / "deep" / "file").write_text("half"), "deep/file has 4 bytes, not 7"),
        (lambda: (folder / "deep" / "file").unlink(), "deep/file is missing"),
        (lambda: (folder / "meta.json").write_text("{"), "meta.json cannot be read"),
    ):
        harm()
        assert artefacts.find("things", {"a": 1}) is None
        caplog.clear()
        assert artefacts.folder("things", {"a": 1}, build) == folder
        assert f"{folder} is damaged ({said}" in caplog.text
        assert damage(folder) is None
        assert (folder / "deep" / "file").read_text() == "content"
    assert len(built) == 4
    assert not list(tmp_path.rglob("*unfinished*"))


def test_an_artefact_of_an_earlier_version_is_read(tmp_path):
    folder = Artefacts(tmp_path).folder("things", {}, lambda path: (path / "file").write_text("x"))
    write_json(folder / "meta.json", {"kind": "things", "inputs": {}, "seconds": 1})
    (folder / "file").write_text("longer")
    assert Artefacts(tmp_path).find("things", {}) == folder


def test_a_lock_that_is_deleted_while_it_is_held_damages_nothing(tmp_path):
    """Two processes build at the same time then; each in a folder of its own, and one of the two results stays."""
    artefacts = Artefacts(tmp_path / "cache")
    began = tmp_path / "began"

    def slow(folder):
        (folder / "file").write_text("of the first, ")
        began.touch()
        until(lambda: (tmp_path / "second").exists())
        with (folder / "file").open("a") as file:
            file.write("whole")

    def first():
        artefacts.folder("things", {}, slow)
        (tmp_path / "ended").touch()

    with child(first):
        until(began.exists)
        Path(f"{artefacts.path('things', {})}.lock").unlink()
        folder = artefacts.folder("things", {}, lambda path: (path / "file").write_text("of the second"))
        (tmp_path / "second").touch()
        until((tmp_path / "ended").exists)
    assert (folder / "file").read_text() == "of the second"
    assert damage(folder) is None
    assert not list(tmp_path.rglob("*unfinished*"))


def test_a_folder_gives_way_to_another_one(tmp_path):
    target = tmp_path / "folder"

    def replace(folder, text):
        (folder / "file").write_text(text)
        if target.exists():
            set_aside(target)

    for text in ("first", "second"):
        whole_folder(target, lambda folder, text=text: replace(folder, text), is_whole=lambda: False)
        assert (target / "file").read_text() == text
        assert list(tmp_path.iterdir()) == [target]


def test_a_lock_file_that_cannot_be_made_is_no_lock_of_another_process():
    with pytest.raises(FileNotFoundError, match="/proc/lock"):
        locked(Path("/proc/lock"), "a thing").__enter__()
