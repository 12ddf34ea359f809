"""Print which folder of the app is served: `root` of static.json, else all of it. A mistake is said, and ends in 1."""

import json
import os
import sys


def main(build: str) -> int:
    root = ""
    path = os.path.join(build, "static.json")
    if os.path.lexists(path):
        try:
            with open(path, encoding="utf-8-sig") as file:
                settings = json.load(file)
            root = settings.get("root", "")
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            print(f"cannot read static.json: {error}")
            return 1
        if not isinstance(root, str) or "\0" in root:
            print("cannot read static.json: root is no text")
            return 1
    top = os.path.realpath(build)
    found = os.path.realpath(os.path.join(top, root))
    if found != top and not found.startswith(top + "/"):
        print(f"cannot serve {root!r}, the root of static.json: it does not lie in the app")
        return 1
    if not os.path.isdir(found):
        print(f"cannot serve {root!r}, the root of static.json: there is no such folder")
        return 1
    print(os.path.relpath(found, top) if found != top else "", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
