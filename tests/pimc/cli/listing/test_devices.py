"""``pimc devices``."""

from __future__ import annotations


def test_devices(pimc) -> None:
    found = {entry["name"]: entry for entry in pimc("devices", "--json").json["devices"]}
    assert found["sim"]["available"]
    assert "sim" in pimc("devices").out
