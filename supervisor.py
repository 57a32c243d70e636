"""`python -m supervisor`: the front door. Without a verb it runs the whole tree; `--help` lists the others.

Nothing imports this file.
"""

from __future__ import annotations

from commands.cli import main

if __name__ == "__main__":
    main(prog_name="python -m supervisor")
