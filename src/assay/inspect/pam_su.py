"""su: whom its PAM stack lets act as somebody else, and whether it asks for a password.

Source: su(1) of util-linux and shadow, pam.d(5), pam_rootok(8), pam_wheel(8), pam_permit(8) of Linux-PAM 1.5.2.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.access import Escalation
from assay.facts.binary import Elf

from .base import Tree, TreeInspector
from .pam import Entry, Stacks

PASSWORDS = frozenset({"pam_unix", "pam_sss", "pam_ldap", "pam_krb5", "pam_winbind", "pam_radius_auth", "pam_tacplus"})
"""Modules that ask for a password."""

STRICT = frozenset({"required", "requisite"})


def escalations(tree: Tree) -> Iterator[Escalation]:
    """Yield who may use su: root, members of a group that is trusted or required, or everyone.

    The password that is asked for is the target's. Where a line is there that is not understood (a jump, another
    module that can grant), `password` is empty.
    """
    if not _uses_pam(tree):
        return
    stacks = Stacks(tree)
    if not stacks.there:
        return
    entries = next((found for name, kind, found, _ in stacks.reported() if (name, kind) == ("su", "auth")), None)
    if not entries or any(entry.note for entry in entries):
        return
    required: Entry | None = None
    excepting: list[str] = []
    asks: bool | None = None
    clear = True  # nothing before could have granted it to everyone
    last = entries[0]
    for entry in entries:
        control = entry.value.split(" ", 1)[0]
        arguments = entry.arguments
        if entry.module == "pam_rootok":
            if control == "sufficient":
                yield _means(entry, "root", False)
        elif entry.module == "pam_wheel":
            group = next((a[6:] for a in arguments if a.startswith("group=")), "wheel")
            if "trust" in arguments and "deny" not in arguments and control == "sufficient":
                yield _means(entry, f"%{group}", False, "root" if "root_only" in arguments else "ALL")
            elif "deny" in arguments and control in STRICT:
                excepting.append(f"user %{group}")
            elif control in STRICT:
                required = entry
        elif entry.module == "pam_permit" and control == "sufficient":
            asks = False if asks is None and clear else asks
            last = entry
            break
        elif entry.module in PASSWORDS:
            asks = True if clear else None
            last = entry
        elif control not in (*STRICT, "optional"):
            clear = False
    if asks is None and entries[-1].module == "pam_deny":
        return
    if required is None:
        yield _means(last, "everyone", asks, excepting=excepting)
        return
    group = next((a[6:] for a in required.arguments if a.startswith("group=")), "wheel")
    if "root_only" in required.arguments:
        yield _means(last, "everyone", asks, excepting=[*excepting, f"target root, but for %{group}"])
    yield _means(required, f"%{group}", asks, "ALL", excepting)


def _uses_pam(tree: Tree) -> bool:
    file = tree.lookup("/bin/su") or tree.lookup("/usr/bin/su")
    return file is not None and any("libpam.so.0" in elf.needed for elf in tree.facts(Elf, file))


def _means(
    entry: Entry, who: str, password: bool | None, target: str = "ALL", excepting: list[str] | None = None
) -> Escalation:
    return Escalation(
        mechanism="su",
        who=who,
        target=target,
        command="ALL",
        password=password,
        options=[entry.value],
        excepting=excepting or [],
        installed=True,
        path=entry.file.path,
        line=entry.line.line,
    )


ESCALATIONS = TreeInspector(
    name="su-escalations",
    version=2,
    families=(Escalation,),
    inspect=escalations,
    unseen=(
        "su without PAM (BusyBox; SU_WHEEL_ONLY and /etc/suauth of shadow)",
        "the account stack, and modules that decide by a list or a condition (pam_listfile, pam_succeed_if)",
        "a group wheel that does not exist: pam_wheel then takes the group 0",
    ),
)
