"""Where the files lie that a machine starts from."""

from __future__ import annotations

from .base import Tree, TreeFile

PLACES = (
    "/boot/",
    "/efi/",
    "/EFI/",
    "/loader/",
    "/grub/",
    "/grub2/",
    "/extlinux/",
    "/syslinux/",
    "/isolinux/",
    "/pxelinux.cfg/",
    "/tftpboot/",
    "/srv/tftp/",
    "/var/lib/tftpboot/",
)
"""Directories of a root file system, or of a boot partition that is a tree of its own."""


def boot_files(tree: Tree) -> list[TreeFile]:
    """Return the regular files in these directories and at the top of the tree, by path."""
    found = {file.path: file for place in PLACES for file in tree.glob(place + "*")}
    found |= {file.path: file for file in tree.listdir("/")}
    return [found[path] for path in sorted(found) if found[path].type in ("regular", "hardlink")]
