"""The command `sct-hf`: its help without heavy imports, its errors, and what it needs."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sct_hf.cli import _help
from sct_hf.cli._wording import in_options
from sct_hf.extras import install_line
from sct_hf.own_checkpoint import NAME
from sct_hf_cli import FOLDER, _extras, command_names, main

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "transformers", "numpy", "PIL", "datasets", "matplotlib"}


@pytest.mark.parametrize("name", command_names())
def test_shipped_help_is_that_of_the_parser(name: str) -> None:
    """Remedy for a difference: python -m sct_hf.cli._help. Versions of argparse break lines differently."""
    shipped = (FOLDER / "help" / f"{name}.txt").read_text(encoding="utf-8")
    assert shipped.split() == _help.help_texts()[f"{name}.txt"].split()


def test_no_help_is_left_of_a_command_that_is_gone() -> None:
    assert {path.stem for path in (FOLDER / "help").glob("*.txt")} == set(command_names())


def test_shipped_completions_are_those_of_the_parsers() -> None:
    pytest.importorskip("shtab", reason="shtab is not installed: pip install 'sct_hf[dev]'")
    for name, text in _help.completions().items():
        assert (FOLDER / "help" / name).read_text(encoding="utf-8").split() == text.split()


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"], ["predict", "-h"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    program = f"import sct_hf_cli, sys; print(sct_hf_cli.main({words!r}), sorted({HEAVY!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "0 []"


def test_overview_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert listed == set(command_names())
    assert {"train", "predict", "evaluate", "check", "embed", "export", "publish", "demo", "benchmark"} <= listed


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pedict", "photo.jpg"]) == 2
    assert capsys.readouterr().err == "error: 'pedict' is no command; did you mean predict?\n"


@pytest.mark.parametrize("command", ["evaluate", "calibrate"])
def test_a_model_that_must_be_named_is_said_to_be_missing(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 2
    assert capsys.readouterr().err.startswith("error: --model is missing: ")


def test_scripts_run_every_command_but_the_printed_one() -> None:
    run_by_scripts = {path.read_text().partition('run("')[2].partition('"')[0] for path in ROOT.glob("scripts/*.py")}
    assert run_by_scripts == set(command_names()) - {"completion"}


def test_a_missing_package_is_named_with_its_extra() -> None:
    program = "import sys; sys.modules['datasets'] = None; from sct_hf_cli import run; sys.exit(run('check'))"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1] == (
        'error: sct-hf check needs datasets, which is not installed: pip install "sct_hf[train]"'
    )


@pytest.mark.parametrize(
    ("words", "missing", "line"),
    [
        (
            ["export", "--format", "onnx"],
            {"datasets"},
            'needs datasets, which is not installed: pip install "sct_hf[export]"',
        ),
        (
            ["export", "--format=torch_export"],
            {"onnx", "pandas"},
            'needs pandas, which is not installed: pip install "sct_hf[train]"',
        ),
        (
            ["export", "--format", "openvino"],
            {"onnx"},
            'needs onnx, which is not installed: pip install "sct_hf[openvino]"',
        ),
        (
            ["train", "photos"],
            {"datasets"},
            'needs datasets, which is not installed: pip install "sct_hf[train,offline]"',
        ),
        (
            ["train", "--recipe=scenes"],
            {"datasets"},
            'needs datasets, which is not installed: pip install "sct_hf[train]"',
        ),
        (["demo"], {"gradio"}, 'needs gradio, which is not installed: pip install "sct_hf[demo]"'),
    ],
)
def test_missing_extras_are_named_together_before_heavy_imports(
    words: list[str], missing: set[str], line: str
) -> None:
    program = (
        "import importlib.metadata as metadata, sys\n"
        "def found(name, real=metadata.distribution):\n"
        f"    if name in {missing!r}: raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.distribution = found\n"
        f"import sct_hf_cli; print(sct_hf_cli.main({words!r}), sorted({HEAVY!r} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["2 []"]
    assert found.stderr == f"error: sct-hf {words[0]} {line}\n"


def test_only_predict_and_completion_need_no_extra() -> None:
    assert {name for name in command_names() if _extras(name, []) == ([], [])} == {"predict", "completion"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "--thresholt=0.3"], "error: --thresholt is no option; did you mean --threshold?\n"),
        (["predict", "a.jpg", "--thresholt", "1"], "error: --thresholt is no option; did you mean --threshold?\n"),
        (["publish", "a", "b", "--dry-run"], "error: --dry-run is no option; did you mean --dry_run?\n"),
        (["predict"], "error: the following arguments are required: images; see sct-hf predict --help\n"),
        (["train", "--epoch", "1"], "error: --epoch is no option; did you mean --epochs?\n"),
        (["train", "--epochs=0"], "error: --epochs is 0: give a number > 0\n"),
        (["train", "--dataset=csv"], "--train_file or --eval_file is not given: name the csv file of split 'train'"),
    ],
)
def test_options_are_named_as_the_command_line_writes_them(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a.csv, line 2: x, or pass skip_missing_images", "a.csv, line 2: x, or pass --skip_missing_images true"),
        ("restore them, or set skip_missing_images", "restore them, or set --skip_missing_images true"),
        ("set label_prototypes to false.", "set --label_prototypes to false."),
        ("name one by label_column.", "name one by --label_column."),
        ("pass separator space if", "pass --separator space if"),
        ("label_encoder='glove' needs", "--label_encoder='glove' needs"),
        ("seed is -1: give", "--seed is -1: give"),
        ("known words stay: the seed is odd, --data_dir too", "known words stay: the seed is odd, --data_dir too"),
        ("'label_column' and x/data_dir/y and data_dir.csv", "'label_column' and x/data_dir/y and data_dir.csv"),
    ],
)
def test_names_of_fields_become_options(text: str, written: str) -> None:
    assert in_options(text, _help.command_parser("train")) == written


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("datasets.features", "train"),
        ("yaml", "train"),
        ("gradio", "demo"),
        ("openvino", "openvino"),
        ("wn", "wordnet"),
    ],
)
def test_the_smallest_extra_that_brings_a_module(module: str, extra: str) -> None:
    assert install_line(module) == f'pip install "sct_hf[{extra}]"'
    assert install_line("nothing_of_ours") is None


def test_module_and_pipeline_tag_without_a_model(tmp_path: Path) -> None:
    """A new process each: offline, from another folder, with the checkpoint that ships."""
    from matplotlib.cbook import get_sample_data

    photo = str(get_sample_data("grace_hopper.jpg", asfileobj=False))
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "sct_hf", "predict", photo, "--format=json"]
    told = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    (tags,) = json.loads(told.stdout)
    program = (
        "import json, sys, sct_hf; from transformers import pipeline; "
        f"tags = pipeline('multi-label-image-classification')({photo!r}); "
        "print(json.dumps([tags, sorted({'datasets', 'matplotlib', 'pandas'} & set(sys.modules))]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    by_pipeline, heavy = json.loads(told.stdout)
    assert [tag["label"] for tag in tags["tags"]] == [tag["label"] for tag in by_pipeline] == ["person"]
    assert heavy == []


@pytest.mark.slow
def test_wheel_has_the_checkpoint_and_no_benchmark(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(words, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"sct_hf/checkpoints/{NAME}/{file}" for file in ("config.json", "model.safetensors")} < names
    assert {"sct_hf_cli.py", "sct_hf/cli/help/train.txt", "sct_hf/py.typed"} < names
    assert not [name for name in names if "benchmark" in name and "recipes" not in name]


def test_a_closed_pipe_is_no_error() -> None:
    """What libraries say when they are imported, as torchao does, is not the command's."""
    program = (
        "import sct_hf_cli, sct_hf.startup, sys, types; print('imported', file=sys.stderr, flush=True); "
        "module = types.ModuleType('sct_hf.cli.loud'); "
        "module.main = lambda words: print('x' * 1_000_000) or 0; sys.modules['sct_hf.cli.loud'] = module; "
        "sys.exit(sct_hf_cli.run('loud'))"
    )
    command = f'{sys.executable} -c "{program}" | true; exit ${{PIPESTATUS[0]}}'
    found = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr.rpartition("imported\n")[1:]) == (141, ("imported\n", ""))
