"""Write docs/contributing/licences.md: all packages that `pip install limbeck` brings, with licences by their metadata.

python .ci/licences.py > docs/contributing/licences.md
"""

from importlib.metadata import PackageNotFoundError, distribution, metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_HEAD = """\
# Licences

What `pip install limbeck` brings, by the metadata of the packages. Those in bold are asked for by limbeck itself, the
others by them. Made by `python .ci/licences.py > docs/contributing/licences.md`; a test holds the bold ones.
"""


def needed(name: str, found: dict[str, str]) -> dict[str, str]:
    """Return the names of a package's requirements, and of theirs, that are installed."""
    for text in distribution(name).requires or []:
        each = Requirement(text)
        key = canonicalize_name(each.name)
        if key in found or (each.marker and not each.marker.evaluate({"extra": ""})):
            continue
        try:
            found[key] = metadata(each.name)["Name"]
        except PackageNotFoundError:
            continue
        needed(each.name, found)
    return found


def licence(name: str) -> str:
    """Return the licence of a package: the expression, the classifiers, or how the text begins."""
    of = metadata(name)
    if of.get("License-Expression"):
        return of["License-Expression"]
    classes = [each.split(" :: ")[-1] for each in of.get_all("Classifier") or [] if each.startswith("License :: ")]
    classes = [each for each in classes if each != "OSI Approved"]
    first = (of.get("License") or "").strip().split("\n")[0][:60]
    return ", ".join(classes) or first or "not told; see the package"


def main() -> None:
    """Print the page."""
    every = map(Requirement, distribution("limbeck").requires or [])
    direct = {canonicalize_name(each.name) for each in every if not each.marker or each.marker.evaluate({"extra": ""})}
    print(_HEAD)
    print("| package | version | licence |\n|---|---|---|")
    for key, name in sorted(needed("limbeck", {}).items()):
        shown = f"**{name}**" if key in direct else name
        print(f"| {shown} | {metadata(name)['Version']} | {licence(name).replace(chr(124), '/')} |")


if __name__ == "__main__":
    main()
