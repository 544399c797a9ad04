"""``python -m interp`` is the command ``interp``; ``torchrun -m interp train-sae …`` comes in here too."""

from interp.cli import main

if __name__ == "__main__":
    main()
