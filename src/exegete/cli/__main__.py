"""`python -m exegete.cli` is `exegete`."""

from exegete.cli.main import main

main()
