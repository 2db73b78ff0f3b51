"""Built-in defaults of the Apache HTTP Server 2.4, by version: data only.

From the directive index of the manual ("Default" of each). What a build or a distribution changes is not in here.
"""

from __future__ import annotations

from .web_settings import Default, Version

FIRST: Version = (2, 4, 0)
"""Oldest version that the table speaks of."""

LAST: Version = (2, 4, 99)
"""Newest version that the table speaks of."""

SERVER = (
    Default("allowoverride", "None"),
    Default("fileetag", "MTime Size"),
    Default("hostnamelookups", "Off"),
    Default("keepalive", "On"),
    Default("keepalivetimeout", "5"),
    Default("limitrequestbody", "0", (2, 4, 0), (2, 4, 54)),
    Default("limitrequestbody", "1073741824", (2, 4, 54)),
    Default("limitrequestfields", "100"),
    Default("limitrequestfieldsize", "8190"),
    Default("limitrequestline", "8190"),
    Default("maxkeepaliverequests", "100"),
    Default("options", "FollowSymlinks"),
    Default("serversignature", "Off"),
    Default("servertokens", "Full"),
    Default("timeout", "60"),
    Default("traceenable", "on"),
)

TLS = (
    Default("sslcompression", "off", (2, 4, 4)),
    Default("sslhonorcipherorder", "off"),
    Default("sslprotocol", "all", (2, 4, 0), (2, 4, 17)),
    Default("sslprotocol", "all -SSLv3", (2, 4, 17)),
    Default("sslsessiontickets", "on", (2, 4, 11)),
    Default("sslverifyclient", "none"),
)
"""Of a server with SSLEngine on."""

GLOBAL = frozenset({
    "acceptfilter", "defaultruntimedir", "group", "listen", "listenbacklog", "loadmodule",
    "maxconnectionsperchild", "maxrequestworkers", "maxsparethreads", "minsparethreads", "mutex", "pidfile",
    "scriptsock", "serverlimit", "serverroot", "servertokens", "sslrandomseed", "sslsessioncache", "startservers",
    "threadlimit", "threadsperchild", "user", "maxclients", "loadfile", "sslstaplingcache", "sslcryptodevice",
    "sslpassphrasedialog",
})  # fmt: skip
"""Directives of the whole server, which no virtual host repeats."""

NOISE = frozenset({
    "addcharset", "adddescription", "addicon", "addiconbyencoding", "addiconbytype", "addlanguage", "browsermatch",
    "browsermatchnocase", "define", "forcelanguagepriority", "languagepriority", "logformat", "undefine",
})  # fmt: skip
"""Directives about icons, languages, old browsers and variables: they stay directives, and are no settings."""

ADDED = frozenset({
    "addhandler", "addoutputfilter", "addtype", "alias", "aliasmatch", "errordocument", "header", "proxypass",
    "proxypassmatch", "redirect", "redirectmatch", "requestheader", "scriptalias", "scriptaliasmatch", "setenv",
    "setenvif", "passenv",
})  # fmt: skip
"""Directives which, stated inside, are added to those outside; others replace them."""

ALONE = frozenset({"rewritecond", "rewritemap", "rewriterule"})
"""Directives that hold only where they stand (RewriteOptions Inherit is not followed)."""

SINGLE = frozenset({
    "accessfilename", "allowmethods", "allowoverride", "authbasicprovider", "authdigestprovider", "authgroupfile",
    "authmerging", "authname", "authtype", "authuserfile", "authdbmuserfile", "authformprovider", "cgipassauth", "dav",
    "davdepthinfinity", "davlockdb", "defaultruntimedir", "directoryindex", "directoryslash", "documentroot",
    "enablemmap", "enablesendfile", "errorlog", "expiresactive", "extendedstatus", "fileetag", "group",
    "hostnamelookups", "httpprotocoloptions", "keepalive", "keepalivetimeout", "limitinternalrecursion",
    "limitrequestbody", "limitrequestfields", "limitrequestfieldsize", "limitrequestline", "limitxmlrequestbody",
    "loglevel", "maxkeepaliverequests", "maxrequestworkers", "order", "pidfile", "protocols", "proxyrequests",
    "proxypreservehost", "proxyvia", "rewritebase", "rewriteengine", "satisfy", "scriptsock",
    "serveradmin", "servername", "serverroot", "serversignature", "servertokens", "sethandler", "sslcacertificatefile",
    "sslcacertificatepath", "sslcompression", "sslengine", "sslhonorcipherorder", "sslinsecurerenegotiation",
    "sslprotocol", "sslproxyengine", "sslproxyverify", "sslproxyprotocol",
    "sslsessioncache", "sslsessioncachetimeout", "sslsessiontickets", "sslstrictsnivhostcheck", "sslusestapling",
    "sslverifyclient", "sslverifydepth", "timeout", "traceenable", "usecanonicalname",
    "usecanonicalphysicalport", "user", "xbithack",
})  # fmt: skip
"""Directives of which the last one counts; of others, every one."""

STATIC = frozenset({
    "core_module", "core.c", "so_module", "mod_so.c", "http_module", "http_core.c", "log_config_module",
    "mod_log_config.c", "logio_module", "mod_logio.c", "watchdog_module", "mod_watchdog.c", "version_module",
    "mod_version.c", "unixd_module", "mod_unixd.c",
})  # fmt: skip
"""Modules that are usually part of the program."""

OVERRIDES = {
    "authconfig": frozenset({
        "authname", "authtype", "authuserfile", "authgroupfile", "authbasicprovider", "authdigestprovider",
        "authdbmuserfile", "require", "authmerging", "satisfy", "<requireall", "<requireany", "<requirenone",
    }),
    "fileinfo": frozenset({
        "addhandler", "sethandler", "addtype", "forcetype", "defaulttype", "errordocument", "header", "requestheader",
        "rewriteengine", "rewriterule", "rewritecond", "rewritebase", "redirect", "redirectmatch", "action", "setenv",
        "setenvif", "setoutputfilter", "addoutputfilter", "removehandler", "fileetag", "cgipassauth",
    }),
    "indexes": frozenset({
        "directoryindex", "indexoptions", "indexignore", "expiresactive", "expiresbytype", "fancyindexing",
    }),
    "limit": frozenset({"allow", "deny", "order"}),
    "options": frozenset({"options", "xbithack"}),
}  # fmt: skip
"""Directives of an .htaccess file that each class of AllowOverride lets in."""
