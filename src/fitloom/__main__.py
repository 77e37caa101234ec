# SPDX-License-Identifier: Apache-2.0
"""`python -m fitloom COMMAND`: run (a script written for TensorFlow), launch (a cluster of local workers), doctor."""
import sys


def main(arguments):
    """Run a command; return its exit status."""
    if arguments[:1] == ["launch"]:
        from fitloom.distribute import launch

        return launch.main(arguments[1:])
    if arguments[:1] == ["run"] and len(arguments) > (2 if arguments[1:2] == ["-m"] else 1):
        from fitloom.base import aliases

        aliases.run(arguments[1:])
        return 0
    if arguments == ["doctor"]:
        from fitloom.monitor import doctor

        return doctor.main()
    sys.stderr.write("""Usage:
  python -m fitloom run script.py [arguments]     a script in which `import tensorflow` and `import keras` mean Fitloom
  python -m fitloom run -m module [arguments]     the same for a module, such as pytest
  python -m fitloom launch [--workers N] script.py [arguments]     a cluster of local workers
  python -m fitloom doctor                        what runs here, and how
""")
    return 0 if arguments[:1] in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
