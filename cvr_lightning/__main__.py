"""``python -m cvr_lightning``, the same as ``cvr``."""

from cvr_lightning.cli.import_path import leave_out_current_directory

if __name__ == "__main__":
    leave_out_current_directory()  # before anything else is imported

    from cvr_lightning.cli.main import main

    main()
