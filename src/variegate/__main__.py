"""`python -m variegate` is the command line."""

from variegate.cli.main import run

if __name__ == "__main__":
    run()
