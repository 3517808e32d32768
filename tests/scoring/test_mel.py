"""Power in Mel bands: the same from torchaudio and from PyTorch alone; a torchaudio that does not load does no harm."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sadstream.scoring.fusion import mel, torchaudio_library
from sadstream.scoring.fusion.header import LogMelConfig
from sadstream.scoring.fusion.mel import MelPower, mel_transform

CONFIGS = (
    LogMelConfig(),
    LogMelConfig(n_fft=512, window=512, hop=160, n_mels=40),
    LogMelConfig(n_fft=1024, window=800, hop=256, n_mels=80),
)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.n_fft}-{config.n_mels}")
def test_both_give_the_same_log_mels_to_1e_5(config: LogMelConfig) -> None:
    theirs = mel_transform(config)
    samples = torch.randn(2, 48_000, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.3], [1e-3]])
    logs = [(made(samples) + config.offset).log() for made in (theirs, MelPower(config))]

    assert not isinstance(theirs, MelPower)
    torch.testing.assert_close(logs[1], logs[0], atol=1e-5, rtol=0)
    assert torch.equal(MelPower(config)(samples[0]), MelPower(config)(samples)[0])


def test_without_torchaudio_torch_alone_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mel, "usable", lambda: None)

    assert isinstance(mel_transform(LogMelConfig()), MelPower)


NATIVE_FAULT = """
from torchaudio import _extension
if _extension._IS_TORCHAUDIO_EXT_AVAILABLE:
    raise OSError("libcudart.so.13: cannot open shared object file")
from torchaudio import transforms
"""


@pytest.mark.parametrize(
    ("package", "native", "found"),
    [
        ("from torchaudio import transforms", "", "whole"),
        (NATIVE_FAULT, "_IS_TORCHAUDIO_EXT_AVAILABLE = True", "whole"),
        ("from torchaudio import _extension", "raise OSError('libcudart.so.13: cannot open')", "whole"),
        ("from torchaudio import _extension", "raise RuntimeError('compiled with other CUDA')", "whole"),
        ("raise OSError('whatever is done')", "", "none"),
        ("import nothing_of_that_name", "", "none"),
        (None, "", "none"),
    ],
)
def test_what_can_be_had_of_torchaudio_is_had(tmp_path: Path, package: str | None, native: str, found: str) -> None:
    """In a process of its own, whose torchaudio is a package that fails in this way."""
    if package is not None:
        (tmp_path / "torchaudio").mkdir()
        (tmp_path / "torchaudio/__init__.py").write_text(package)
        (tmp_path / "torchaudio/_extension.py").write_text(native or "_IS_TORCHAUDIO_EXT_AVAILABLE = False")
        (tmp_path / "torchaudio/transforms.py").touch()
    source = Path(torchaudio_library.__file__).read_text()
    path = f"[{str(tmp_path)!r}, *(p for p in sys.path if 'site-packages' not in p)]"
    code = f"import sys, importlib.util\nsys.path[:] = {path}\n"
    code += source + "\nfirst = usable()\nassert usable() is first\n"
    code += "print('none' if first is None else 'whole', importlib.util.find_spec('torchaudio') is not None)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == [found, str(found == "whole")]


def test_the_real_one_is_had_whatever_torch_there_is() -> None:
    found = torchaudio_library.usable()

    assert found is not None
    assert found.transforms.MelSpectrogram
