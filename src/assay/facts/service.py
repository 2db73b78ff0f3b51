"""What starts, when, and as whom."""

from typing import Annotated, ClassVar

from .base import ContentFact, TreeFact, doc


class Directive(ContentFact, frozen=True, kw_only=True, array_like=True):
    """One line of a configuration file, parsed but not interpreted: what was written, where. Secrets are left out."""

    source: ClassVar = "the manual page of each dialect, named by its inspector"
    index: ClassVar = ("dialect,key",)

    dialect: Annotated[str, doc("sshd_config, sysctl, systemd, inittab, inetd, xinetd, initscript, kernel_config, ...")]
    section: Annotated[str | None, doc("section, Match condition or service name that the line stands in")] = None
    key: Annotated[str, doc("keyword as the dialect compares it (sshd keywords in lower case)")]
    value: Annotated[str, doc("value as written, without its comment")]


class Service(TreeFact, frozen=True, kw_only=True, array_like=True):
    """A service that the image defines, and whether it starts at boot."""

    source: ClassVar = "systemd.unit(5), systemd.exec(5), LSB init scripts, inittab(5), inetd.conf(5), xinetd.conf(5)"

    name: Annotated[str, doc("unit, script or service name")]
    manager: Annotated[str, doc("systemd, sysv, rc (BusyBox, OpenWrt), openrc, inittab, inetd, xinetd")]
    enabled: Annotated[
        bool | None, doc("starts at boot (or on a socket or timer that does); empty if it cannot be told")
    ]
    enabled_by: Annotated[str | None, doc("link, line or unit that enables it")] = None
    trigger: Annotated[str, doc("boot, socket, timer, path, dbus, device, console, on-demand, dependency")] = "boot"
    user: Annotated[
        str | None, doc("account it runs as; root where the manager's default is root; empty if it cannot be told")
    ] = None
    user_origin: Annotated[str | None, doc("where the account is stated: directive, default, line")] = None
    group_name: Annotated[str | None, doc("group it runs as, if stated")] = None
    command: Annotated[str | None, doc("command line as written")] = None
    executable: Annotated[str | None, doc("path in the tree of the program, links resolved; empty if not found")] = None


class Setting(TreeFact, frozen=True, kw_only=True, array_like=True):
    """The effective value of a setting: the file that won, or the built-in default where none sets it."""

    source: ClassVar = "sshd_config(5), sysctl.d(5), Linux Documentation/networking/ip-sysctl"
    index: ClassVar = ("subsystem,key",)

    subsystem: Annotated[
        str, doc("sshd, sysctl, pam, login.defs, nginx, ...: the dialect whose reference page names it")
    ]
    key: Annotated[str, doc("keyword (sshd in lower case; sysctl with dots)")]
    value: Annotated[str, doc("effective value")]
    origin: Annotated[str, doc("file, default (built in), kernel-config")]
    scope: Annotated[str, doc("condition under which it holds: empty for always, else the Match line")] = ""
    basis: Annotated[
        str | None,
        doc("for a default: whose default and which version of the manual; for a file: the files it overrode"),
    ] = None


class ImageManifest(ContentFact, frozen=True, kw_only=True, array_like=True):
    """One image of an OCI layout or docker archive: its layers in order, lowest first."""

    source: ClassVar = "OCI image-spec 1.1 manifest.md, image-layout.md; docker image save format v1.2"

    format: Annotated[str, doc("oci or docker")]
    name: Annotated[str, doc("digest or position of the image in its archive; names given by people are in identity")]
    layers: Annotated[list[str], doc("paths of the layer archives inside the container, as JSON array")] = []
    config: Annotated[str | None, doc("path of the configuration inside the container")] = None
