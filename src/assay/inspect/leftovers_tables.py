"""Names of files that serve building, testing or finding faults.

Reference: git-init(1) and the manuals of Subversion, Mercurial, CVS; Filesystem Hierarchy Standard 3.0; rpm,
deb-conffiles(5); gcc, binutils, make, CMake, Meson; vim, emacs; conventions of test frameworks.
"""

from __future__ import annotations

from .late import late

SOURCE_CODE = (
    ".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx", ".inl", ".s", ".S", ".asm", ".java", ".kt", ".scala",
    ".go", ".rs", ".cs", ".f90", ".y", ".l", ".proto", ".asn", ".asn1", ".vhd",
)  # fmt: skip
OBJECT_FILES = (".o", ".obj", ".lo", ".la", ".a", ".ko.debug")
DEBUG_SYMBOLS = (".debug", ".dwo", ".dwp", ".pdb", ".sym")
BACKUPS = (
    "~", ".swp", ".swo", ".bak", ".orig", ".rej",
    ".dpkg-old", ".dpkg-dist", ".dpkg-new", ".dpkg-bak", ".rpmsave", ".rpmorig", ".rpmnew", ".ucf-old", ".ucf-dist",
)  # fmt: skip
SAMPLES = (".sample", ".example", ".example.conf", ".conf.example", ".conf.sample")
BUILD_ENDINGS = (".mk", ".cmake", ".gcno", ".gcda", ".m4", ".am", ".gradle", ".pro", ".bb", ".vcxproj", ".sln")

BUILD_FILES = frozenset((
    "Makefile", "GNUmakefile", "makefile", "CMakeLists.txt", "CMakeCache.txt", "configure.ac", "configure.in",
    "config.log", "config.status", "meson.build", "build.ninja", "Jenkinsfile", "Dockerfile",
    ".gitlab-ci.yml", ".travis.yml", "compile_commands.json", "BUILD.bazel", "WORKSPACE.bazel", "SConstruct",
    "SConscript", "Kbuild", "Kconfig", "pom.xml", "Cargo.toml", "Cargo.lock", "tox.ini", "Vagrantfile",
))  # fmt: skip
SOURCE_CONTROL = frozenset((".gitignore", ".gitattributes", ".gitmodules", ".hgignore", ".hgtags", ".mailmap"))
REPOSITORY = late(r"/(?:\.git/HEAD|\.svn/(?:entries|wc\.db)|\.hg/requires|\.bzr/branch-format|CVS/Entries)\Z")
"""The one file of a repository that stands for it."""

PROGRAM = late(r"/(?:s?bin|libexec|gcc|lib(?:32|64)?)/(?:[^/]+/){0,4}[^/]+\Z|\A/(?:s?bin)/[^/]+\Z")
_TRIPLET = r"(?:[a-z0-9_]+-(?:[a-z0-9_]+-){0,2}(?:gnu\w*|musl\w*|uclibc\w*|elf\w*|eabi\w*)-)?"
COMPILER = late(
    _TRIPLET
    + r"(?:gcc|g\+\+|cpp|cc|c\+\+|gfortran|gdc|clang|clang\+\+|tcc|cc1|cc1plus|collect2|as|ld(?:\.bfd|\.gold|\.lld)?"
    r"|rustc|cargo|javac|gccgo|make|gmake|cmake|ninja|meson|bison|yacc|flex|rpmbuild|bitbake)(?:-\d+(?:\.\d+)*)?\Z"
)
DEBUGGER = late(
    _TRIPLET
    + r"(?:gdb|gdbserver|gdb-multiarch|lldb|lldb-server|strace|ltrace|valgrind|perf|stap|bpftrace|uftrace|trace-cmd"
    r"|crash|kexec-crash|drgn|rr|systemtap|jdb|dlv|strace64|memcheck-\w+)(?:[-_]\d+(?:\.\d+)*)?\Z"
)
TEST = late(
    r"/(?:tests?|testsuite|unit-?tests?|selftests?|__tests__)/|/(?:test_[^/]+\.py|[^/]+_test\.(?:go|py|sh)|conftest\.py)\Z"
)
SAMPLE = late(r"/(?:examples?|samples?|demos?)/")
ROOT_OF_DEBUG = ("/usr/lib/debug/", "/lib/debug/", "/.build-id/")
