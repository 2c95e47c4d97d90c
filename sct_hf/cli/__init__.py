"""The commands of `sct-hf`, one file each: `parser()` and `main(argv)`. `_help` renders the output of `--help`."""
