"""Debian's Chromium for tests of the page; run as a module by root, this installs it."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    """The path of a Chromium, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def main() -> None:
    """Install Chromium where it lacks and can be installed; its absence is said by the tests."""
    if find_browser() or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print("Installing Chromium for the tests of the page.", file=sys.stderr)  # noqa: T201
    for words in (
        ["update", "-qq"],
        ["install", "-y", "-qq", "--no-install-recommends", "chromium"],
    ):
        subprocess.run(["apt-get", *words], check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
