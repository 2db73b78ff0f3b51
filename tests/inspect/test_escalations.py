"""doas, polkit and su: what their configurations let whom do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from assay.facts.access import Escalation
from assay.facts.binary import Elf
from assay.facts.service import Directive
from assay.inspect import doas, pam, pam_su, polkit
from assay.inspect.base import Content, ContentInspector
from tests.support.memory_tree import MemoryTree, inspect


def tree(files: dict[str, str], *inspectors: ContentInspector) -> MemoryTree:
    return MemoryTree({path: (0o644, 0, 0, text.encode()) for path, text in files.items()}, inspectors)


def test_rules_of_doas() -> None:
    conf = """# rules
permit nopass keepenv root
permit persist setenv { -ENV PS1=$X SECRET=hunter2 } :wheel
permit nopass "the user" as www cmd /bin/cp args -a "b c"
deny eve
"""
    path = "/etc/doas.conf"

    def means(who: str, target: str, command: str, line: int, options: list[str]) -> Escalation:
        return Escalation(
            mechanism="doas", who=who, target=target, command=command, password="nopass" not in options,
            options=options, installed=True, path=path, line=line,
        )  # fmt: skip

    found = tree({path: conf, "/usr/bin/doas": "\x7fELF"}, doas.INSPECTOR)
    assert list(doas.escalations(found)) == [
        means("root", "ALL", "ALL", 2, ["nopass", "keepenv"]),
        means("%wheel", "ALL", "ALL", 3, ["persist", "setenv -ENV PS1 SECRET"]),
        means("the user", "www", "/bin/cp -a b c", 4, ["nopass"]),
    ]
    assert "hunter2" not in repr(inspect(doas.INSPECTOR, conf.encode()))
    without = list(doas.escalations(tree({path: conf}, doas.INSPECTOR)))
    assert without == [msgspec.structs.replace(means, installed=False) for means in doas.escalations(found)]
    with pytest.raises(ValueError, match="line 2: no rule of doas"):
        inspect(doas.INSPECTOR, b"permit a\nallow b\npermit nopass\n")


POLICY = b"""<?xml version="1.0"?>
<!DOCTYPE policyconfig PUBLIC "x" "http://example.org/policyconfig.dtd">
<policyconfig>
  <action id="org.example.reboot">
    <description>Restart</description>
    <defaults><allow_any>auth_admin</allow_any>
      <allow_inactive>no</allow_inactive>
      <allow_active>yes</allow_active></defaults>
  </action>
  <action id="org.example.run">
    <defaults><allow_any>auth_admin_keep</allow_any><allow_inactive>auth_admin_keep</allow_inactive></defaults>
    <annotate key="org.freedesktop.policykit.exec.path">/usr/bin/run</annotate>
  </action>
</policyconfig>
"""


def test_actions_of_polkit() -> None:
    policy, local = "/usr/share/polkit-1/actions/org.example.policy", "/etc/polkit-1/localauthority/50-local.d/a.pkla"
    rules = "/etc/polkit-1/rules.d/50-a.rules"
    files = {
        policy: POLICY.decode(),
        local: "[Ops]\nIdentity=unix-group:ops;unix-user:bob\nAction=org.example.*\nResultAny=yes\nResultActive=no\n",
        rules: "// return polkit.Result.NO\npolkit.addRule(function(a, s) {\n  return polkit.Result.YES;\n});\n",
        "/usr/lib/polkit-1/polkitd": "\x7fELF",
    }

    def means(who: str, command: str, condition: str, path: str, line: int, *options: str) -> Escalation:
        return Escalation(
            mechanism="polkit", who=who, target="", command=command, password=options[0] != "yes",
            condition=condition, options=list(options), installed=True, path=path, line=line,
        )  # fmt: skip

    found = tree(files, polkit.INSPECTOR)
    assert list(polkit.escalations(found)) == [
        means("everyone", "org.example.reboot", "allow_any", policy, 6, "auth_admin"),
        means("everyone", "org.example.reboot", "allow_active", policy, 8, "yes"),
        means("everyone", "org.example.run", "allow_any, allow_inactive", policy, 11, "auth_admin_keep",
              "org.freedesktop.policykit.exec.path=/usr/bin/run"),
        means("%ops", "org.example.*", "allow_any", local, 4, "yes"),
        means("bob", "org.example.*", "allow_any", local, 4, "yes"),
    ]  # fmt: skip
    assert found.facts(Directive, found.lookup(rules)) == [  # type: ignore[arg-type]
        Directive(dialect="polkit-rules", key="result", value="YES", line=3)
    ]
    del files["/usr/lib/polkit-1/polkitd"]
    without = list(polkit.escalations(tree(files, polkit.INSPECTOR)))
    assert without == [msgspec.structs.replace(means, installed=False) for means in polkit.escalations(found)]


@pytest.mark.parametrize(
    "data",
    [
        POLICY[:200],
        b'<!DOCTYPE x [<!ENTITY a "b">]><policyconfig/>',
        b"<a>" * 100,
        b"<policyconfig>\xff\xfe</policyconfig>",
    ],
)
def test_a_policy_that_is_none_is_said_to_be_wrong(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        list(polkit.inspect(Content(data, data, "text")))


ELF = ContentInspector(
    name="test-elf",
    version=1,
    families=(Elf,),
    inspect=lambda _: [
        Elf(bits=64, endian="little", machine="x86_64", type="DYN", role="executable", osabi=0, needed=["libpam.so.0"])
    ],
    wants_path=lambda path: path == "/usr/bin/su",
)
AUTH = "auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n"


def row(who: str, password: bool | None, line: int, value: str, target: str = "ALL", **more: Any) -> Escalation:
    more.setdefault("path", "/etc/pam.d/su")
    return Escalation(
        mechanism="su",
        installed=True,
        who=who,
        target=target,
        command="ALL",
        password=password,
        options=[value],
        line=line,
        **more,
    )


UNIX = "[success=1 default=ignore] pam_unix.so"
ROOT = row("root", False, 1, "sufficient pam_rootok.so")
ROOTOK = "auth sufficient pam_rootok.so\n"


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        (ROOTOK + AUTH, [ROOT, row("everyone", True, 2, UNIX)]),
        (
            ROOTOK + "auth required pam_wheel.so group=ops\n" + AUTH,
            [ROOT, row("%ops", True, 2, "required pam_wheel.so group=ops")],
        ),
        (
            ROOTOK + "auth sufficient pam_wheel.so trust\n" + AUTH,
            [ROOT, row("%wheel", False, 2, "sufficient pam_wheel.so trust"), row("everyone", True, 3, UNIX)],
        ),
        (
            "auth required pam_wheel.so deny group=guests\n" + AUTH,
            [row("everyone", True, 2, UNIX, excepting=["user %guests"])],
        ),
        (
            ROOTOK + "auth sufficient pam_permit.so\n" + AUTH,
            [ROOT, row("everyone", False, 2, "sufficient pam_permit.so")],
        ),
        (ROOTOK + "auth required pam_deny.so\n", [ROOT]),
    ],
)
def test_whom_su_lets_in(stack: str, expected: list[Escalation]) -> None:
    files = {"/etc/pam.d/su": stack, "/usr/lib/libpam.so.0": "\x7fELF", "/usr/bin/su": "\x7fELF su"}
    assert list(pam_su.escalations(tree(files, pam.INSPECTOR, ELF))) == expected
    assert list(pam_su.escalations(tree(files, pam.INSPECTOR))) == []
