"""The bill of materials of a wheel is held against the lock."""

from tools.bill_of_materials import LOCK, locked, unlocked

TEXT = (
    "attrs==25.1.0 \\\n    --hash=sha256:00\nruamel-yaml==0.18.1 ; python_version < '3.13' \\\n    --hash=sha256:01\n"
)


def test_a_lock_names_each_package_with_its_version() -> None:
    assert locked(TEXT) == {("attrs", "25.1.0"), ("ruamel-yaml", "0.18.1")}


def test_the_runtime_s_lock_is_read_whole() -> None:
    text = LOCK.read_text()
    assert len(locked(text)) == sum(not line.startswith((" ", "#")) for line in text.splitlines() if line)


def test_what_nobody_locked_is_told_with_its_version() -> None:
    components = [
        {"name": "attrs", "version": "25.1.0"},
        {"name": "ruamel.yaml", "version": "0.18.2"},
        {"name": "stray", "version": "1"},
    ]
    assert unlocked({"components": components}, TEXT) == ["ruamel-yaml 0.18.2", "stray 1"]


def test_what_makes_an_environment_is_no_part_of_what_is_shipped() -> None:
    assert unlocked({"components": [{"name": "pip", "version": "1"}]}, TEXT) == []
