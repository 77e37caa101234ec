# SPDX-License-Identifier: Apache-2.0
"""`python -m fitloom COMMAND`: doctor (what runs here, and how), launch (a cluster of local workers)."""
import sys


def main(arguments):
    """Run a command; return its exit status."""
    if arguments[:1] == ["launch"]:
        from fitloom.distribute import launch

        return launch.main(arguments[1:])
    if arguments == ["doctor"]:
        from fitloom.monitor import doctor

        return doctor.main()
    sys.stderr.write("Usage: python -m fitloom doctor\n"
                     "       python -m fitloom launch [--workers N] script.py [arguments]\n")
    return 0 if arguments[:1] in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
