"""Usage: third-party.py [TARGET] > FILE

Writes down every library that the program is built from for TARGET: name, version, licence, and
the notices that its licence asks to be passed on. Reads what cargo has downloaded.
"""

import collections
import json
import pathlib
import subprocess
import sys

NOTICES = ("LICEN", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")
# Of those that carry a library in C within themselves, its notices stand one or two folders down.
DEPTH_MAX = 3
WIDTH = 78


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def linked(graph):
    """The ids of what the root needs to run, without what only builds or tests it."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    found, ahead = set(), [graph["root"]]
    while ahead:
        for dependency in nodes[ahead.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if normal and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                ahead.append(dependency["pkg"])
    return found


def notices(package):
    """The texts of the package's notices."""
    folder = pathlib.Path(package["manifest_path"]).parent
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if len(inside.parts) > DEPTH_MAX or not path.is_file() or path.suffix in (".rs", ".c", ".h"):
            continue
        if path.name.upper().startswith(NOTICES):
            yield path.read_text(encoding="utf-8", errors="replace").strip()


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else "x86_64-unknown-linux-gnu"
    data = metadata(target)
    wanted = linked(data["resolve"])
    packages = [package for package in data["packages"] if package["id"] in wanted]
    packages.sort(key=lambda package: (package["name"], package["version"]))
    by_text = collections.defaultdict(list)
    print("Libraries that callback-dispatcher is built from, and their notices below.\n")
    for package in packages:
        name = f"{package['name']} {package['version']}"
        print(f"{name:<40} {package['license'] or 'see below'}")
        for text in dict.fromkeys(notices(package)):
            by_text[text].append(name)
    for text, names in by_text.items():
        print("\n" + "=" * WIDTH)
        print(", ".join(names) + "\n")
        print(text)


main()
