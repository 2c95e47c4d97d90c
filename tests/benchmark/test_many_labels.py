"""The benchmark of many labels runs and prints a line for each number."""

from sct_hf.benchmark.many_labels import main


def test_a_line_for_each_number_of_labels(capsys) -> None:
    tiny = ["--backbone", "test_efficientnet", "--pixels", "64", "--batch_size", "2", "--steps", "1"]
    main(["5", "7", *tiny, "--full", "--bf16", "--jobs", "0"])
    header, *lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["5", "7"]
    assert all(len(line.split(" | ")) == len(header.split(" | ")) for line in lines)
    assert all(float(line.split(" | ")[1]) > 0 for line in lines)
