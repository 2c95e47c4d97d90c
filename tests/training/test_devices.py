"""What the machine is called, against what the system tells of it."""

import platform
from pathlib import Path

import pytest

from sct_hf.training.devices import cpu_kind, cpu_name, has_vnni

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(
    not (CPUINFO.is_file() and platform.machine() == "x86_64"), reason="reads the flags that Linux lists for x86"
)
def test_vnni_is_what_linux_lists() -> None:
    flags = {flag for line in CPUINFO.read_text().splitlines() if line.startswith("flags") for flag in line.split()}
    assert has_vnni() == bool({"avx512_vnni", "avx_vnni"} & flags)


@pytest.mark.parametrize(
    ("able", "kind"),
    [
        ({"architecture": "x86_64", "avx2": True, "avx512_vnni": False, "avx_vnni": True}, ", with VNNI"),
        ({"architecture": "x86_64", "avx2": True, "avx512_vnni": False, "avx_vnni": False}, ", without VNNI"),
        ({"architecture": "aarch64", "neon": True}, ""),
    ],
)
def test_kind_of_cpu(monkeypatch: pytest.MonkeyPatch, able: dict[str, object], kind: str) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: able)
    assert cpu_kind() == cpu_name() + kind
