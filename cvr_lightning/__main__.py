"""``python -m cvr_lightning``, the same as ``cvr``."""

from cvr_lightning.cli.main import main

if __name__ == "__main__":
    main()
