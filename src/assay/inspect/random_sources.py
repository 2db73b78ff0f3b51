"""Where random numbers come from: functions that a binary imports, devices that it names, calls in scripts.

A generator that is seeded with a number repeats itself with the same seed; the kernel's and those of libraries for
cryptography do not. Which of them makes keys, and which a delay, is not seen here.

Reference: rand(3), random(3), drand48(3), random(7), getrandom(2), arc4random(3); the libraries' manuals; Matsumoto and
Nishimura 1998 (MT19937); the manuals of Python, ECMAScript, PHP and bash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from assay.facts.crypto import RandomSource
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Expression, numbered
from .elf_format import ET_CORE
from .elf_program import program

MAX_FACTS = 2_000

FUNCTIONS = {
    "predictable": """rand rand_r random random_r lrand48 drand48 mrand48 erand48 nrand48 jrand48 lrand48_r drand48_r
        g_random_int g_random_int_range g_random_double g_rand_int g_rand_int_range g_rand_double prandom_u32
        prandom_bytes php_mt_rand php_rand gsl_rng_get""",
    "seed": """srand srandom srandom_r initstate setstate srand48 srand48_r seed48 lcong48 g_random_set_seed
        g_rand_new_with_seed RAND_seed RAND_add arc4random_addrandom arc4random_stir mbedtls_ctr_drbg_seed
        mbedtls_hmac_drbg_seed prandom_seed""",
    "system": """getrandom getentropy get_random_bytes get_random_u32 get_random_u64 SecRandomCopyBytes
        BCryptGenRandom CryptGenRandom""",
    "library": """RAND_bytes RAND_priv_bytes RAND_pseudo_bytes RAND_bytes_ex RAND_priv_bytes_ex arc4random
        arc4random_buf arc4random_uniform gnutls_rnd gcry_randomize gcry_random_bytes gcry_random_bytes_secure
        gcry_create_nonce mbedtls_ctr_drbg_random mbedtls_hmac_drbg_random mbedtls_entropy_func psa_generate_random
        wc_RNG_GenerateBlock wc_InitRng PK11_GenerateRandom randombytes randombytes_buf randombytes_uniform
        randombytes_random uuid_generate uuid_generate_random osmo_get_rand_id nettle_yarrow256_random""",
}
KINDS = {name: kind for kind, names in FUNCTIONS.items() for name in names.split()}
_NAMES = frozenset(KINDS)


class Text(NamedTuple):
    """Something that stands in a text or a binary."""

    name: str
    kind: str
    trigger: bytes
    evidence: str
    before: bytes = rb"(?<![\w.$/])"
    """What must not stand before it."""


def _call(name: str, kind: str) -> Text:
    return Text(name, kind, re.escape(name.encode()) + rb"\(", "script")


TEXTS = (
    Text("/dev/urandom", "system", b"/dev/urandom", "string"),
    Text("/dev/random", "system", b"/dev/random", "string"),
    Text("/dev/hwrng", "system", b"/dev/hwrng", "string"),
    # The last two steps of its tempering, as they stand in code that has constants of 32 bits in its instructions.
    Text("mt19937", "predictable", rb"\x80\x56\x2c\x9d.{0,48}\x00\x00\xc6\xef", "constant", b""),
    Text("mt19937", "predictable", rb"\x9d\x2c\x56\x80.{0,48}\xef\xc6\x00\x00", "constant", b""),
    *(_call(f"random.{name}", "predictable") for name in ("random", "randint", "randrange", "choice", "getrandbits")),
    _call("random.seed", "seed"),
    _call("random.SystemRandom", "system"),
    _call("os.urandom", "system"),
    *(_call(f"secrets.{name}", "system") for name in ("token_bytes", "token_hex", "token_urlsafe", "choice")),
    _call("Math.random", "predictable"),
    _call("crypto.randomBytes", "library"),
    _call("crypto.getRandomValues", "system"),
    _call("mt_rand", "predictable"),
    _call("mt_srand", "seed"),
    _call("random_bytes", "system"),
    _call("random_int", "system"),
    _call("openssl_random_pseudo_bytes", "library"),
    Text("$RANDOM", "predictable", rb"\$RANDOM", "script", b""),
    Text("$RANDOM", "predictable", rb"\$\{RANDOM\}", "script", b""),
    Text("openssl rand", "library", rb"openssl rand ", "script"),
)


@cache
def _whole(text: Text) -> re.Pattern[bytes]:
    end = rb"(?!\w)" if text.evidence == "string" else b""
    return re.compile(text.before + text.trigger + end, re.DOTALL)


ENDINGS = (".py", ".js", ".mjs", ".php", ".sh", ".pl", ".lua", ".rb", ".cgi")


def inspect(content: Content) -> Iterator[RandomSource]:
    """Yield each source once, at the first place that shows it; in scripts each place.

    Raises:
        LimitReached: there are more places than are told.
    """
    found: list[RandomSource] = []
    script = content.kind in ("text", "script")
    seen: set[str] = set()
    for end, number in content.hits.places:
        text = TEXTS[number]
        if script != (text.evidence == "script") and not (script and text.evidence == "string"):
            continue
        if not script and text.name in seen:
            continue
        begin = max(0, end - 64)
        window = bytes(content.data[begin : end + 1])
        match = next((m for m in _whole(text).finditer(window) if begin + m.end() == end), None)
        if match is None or (script and _is_comment(content, begin + match.start())):
            continue
        seen.add(text.name)
        evidence = "script" if script else text.evidence
        found.append(RandomSource(offset=begin + match.start(), name=text.name, kind=text.kind, evidence=evidence))
        if len(found) > MAX_FACTS:
            break
    if content.kind == "elf" and (imported := _imports(content)):
        yield from imported
    yield from numbered(content, found[:MAX_FACTS])
    if content.hits.cut or len(found) > MAX_FACTS:
        raise LimitReached("random sources", MAX_FACTS)


def _imports(content: Content) -> list[RandomSource]:
    it = program(content.data)
    if it is None or it.elf.type == ET_CORE:
        return []
    names = it.names[0] & _NAMES
    if not names:
        return []
    table = it.dynamic if it.dynamic.names else it.static
    return [
        RandomSource(
            offset=table.place_of(name),
            name=name,
            kind=KINDS[name],
            evidence="import",
        )
        for name in sorted(names)
    ]


def _is_comment(content: Content, at: int) -> bool:
    """Tell whether the line of a place begins as a comment does."""
    before = bytes(content.data[max(0, at - 256) : at])
    line = before[before.rfind(b"\n") + 1 :].lstrip()
    return line.startswith((b"#", b"//", b"*", b"/*"))


INSPECTOR = ContentInspector(
    name="random_sources",
    version=1,
    families=(RandomSource,),
    inspect=inspect,
    path_has=(".",),
    head_begins=(b"\x7fELF", b"#!"),
    wants_head=lambda head: head[:4] == b"\x7fELF" or head[:2] == b"#!",
    wants_path=lambda path: path.endswith(ENDINGS),
    expressions=tuple(Expression(text.trigger) for text in TEXTS),
    unseen=(
        "what the numbers are used for",
        "the processor's own instructions (rdrand), system calls without the C library, statically linked functions",
        "generators of languages that are compiled without imports (Go, Rust)",
    ),
)
