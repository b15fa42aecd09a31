"""`python -m arsbench`: the command line, as `arsbench` is."""

from arsbench_cli.main import main

if __name__ == "__main__":
    main()
