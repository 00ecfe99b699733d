"""What is free is the least of machine and control groups, counted from above; what surely does not fit is refused."""

import os
from collections import namedtuple

import pytest

from limbeck import room
from limbeck.config import ConfigError

GB = 10**9
Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose files are written for the test."""

    def made(groups, files, **memory):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/meminfo").write_text("".join(f"{name}: {n // 1024} kB\n" for name, n in memory.items()))
        (tmp_path / "proc/self/cgroup").write_text(groups)
        for name, content in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(content))
        monkeypatch.setattr(room, "_PROC", tmp_path / "proc")
        monkeypatch.setattr(room, "_CGROUP", tmp_path / "cgroup")

    return made


def group(folder, limit, used, cached, *, version=2):
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    prefix = "" if version == 2 else "total_"
    stat = f"anon 5\n{prefix}inactive_file {cached // 2}\n{prefix}active_file {cached - cached // 2}\n"
    return {f"{folder}/{names[0]}": limit, f"{folder}/{names[1]}": used, f"{folder}/memory.stat": stat}


def near(size):
    return pytest.approx(size, abs=2048)


def test_here_something_is_free():
    free = room.free_memory()
    if os.path.exists("/proc/meminfo"):
        assert free is not None
        assert free > 10**6
    assert room.free_disk(room.Path("not/there/yet")) > 0


def test_without_limits_it_is_what_the_machine_has(machine):
    machine("0::/\n", group(".", "max", 5 * GB, 0), MemAvailable=20 * GB, SwapFree=2 * GB)
    assert room.free_memory() == near(22 * GB)


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_group_counts_and_kept_files_are_free(machine, version):
    line, root = ("0::/job\n", "job") if version == 2 else ("4:memory:/job\n3:cpu:/\n", "memory/job")
    machine(line, group(root, 8 * GB, 6 * GB, 3 * GB, version=version), MemAvailable=20 * GB)
    assert room.free_memory() == near(5 * GB)


def test_the_group_around_it_counts_too(machine):
    files = group("user/job", "max", GB, 0) | group("user", 4 * GB, 3 * GB, 0)
    machine("0::/user/job\n", files, MemAvailable=20 * GB)
    assert room.free_memory() == near(GB)


def test_a_container_sees_its_group_as_the_root(machine):
    machine("4:memory:/docker/abc\n", group("memory", 2 * GB, GB, 0, version=1), MemAvailable=20 * GB)
    assert room.free_memory() == near(GB)


def test_version_1_has_a_huge_number_for_no_limit(machine):
    machine("4:memory:/\n", group("memory", 2**63 - 4096, GB, 0, version=1), MemAvailable=20 * GB)
    assert room.free_memory() == near(20 * GB)


def test_where_the_system_does_not_say_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_PROC", tmp_path)
    assert room.free_memory() is None
    room.check_memory(10**18, "work", "less")
    assert room.words(memory=10**18) == "1000000 TB of memory"


def test_what_fits_to_the_byte_is_not_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda: 5 * GB)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(9 * GB, 7 * GB, 2 * GB))
    room.check_memory(5 * GB, "work", "less")
    room.check_disk(2 * GB, tmp_path / "cache", "work", "less")
    with pytest.raises(ConfigError, match=r"^work needs 6 GB of memory, but only 5 GB are free: less$"):
        room.check_memory(6 * GB, "work", "less")
    with pytest.raises(ConfigError, match=r"^work needs 3 GB of disk in .*cache, but only 2 GB are free: less$"):
        room.check_disk(3 * GB, tmp_path / "cache", "work", "less")


def test_an_estimate_says_where_there_will_hardly_be_room(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda: 5 * GB)
    monkeypatch.setattr(room, "free_disk", lambda folder: 2 * GB)
    assert room.words(memory=4 * GB, disk=GB, folder=tmp_path) == f"4 GB of memory, 1 GB on disk in {tmp_path}"
    said = room.words(memory=6 * GB, instead="take less")
    assert said == "6 GB of memory (but only 5 GB are free: take less)"
    assert room.words() == ""
