"""What libraries for cryptography show of themselves: version texts, prefixes of their functions, weak functions.

Reference: the public headers and version texts of each library.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple


class Text(NamedTuple):
    """A text that states a version, or stands in the library only."""

    library: str
    trigger: bytes
    exact: bytes
    """Group 1 is the version, where the text states one."""


def _text(library: str, trigger: bytes, exact: bytes) -> Text:
    return Text(library, trigger, exact)


TEXTS = (
    # With the date of its release: other programs name a version, but not so.
    _text("openssl", rb"OpenSSL [0-3]\.[0-9]",
          rb"OpenSSL ([0-3]\.\d+\.\d+[a-z]{0,2}(?:-[\w.+]+)?) {1,2}\d{1,2} [A-Z][a-z]{2} \d{4}"),
    _text("libressl", rb"LibreSSL [1-9]", rb"LibreSSL (\d+\.\d+\.\d+)"),
    _text("boringssl", rb"; BoringSSL\)", rb"OpenSSL [\d.]+ \(compatible; BoringSSL\)"),
    _text("gnutls", rb"GnuTLS [0-9]\.", rb"Enabled GnuTLS (\d+\.\d+\.\d+[\w.-]*) logging"),
    _text("mbedtls", rb"[Mm]bed TLS [1-9]", rb"[Mm]bed TLS (\d+\.\d+\.\d+)"),
    _text("mbedtls", rb"PolarSSL [01]\.", rb"PolarSSL (\d+\.\d+\.\d+)"),
    _text("libgcrypt", rb"This is Libgcrypt [1-9]", rb"This is Libgcrypt (\d+\.\d+\.\d+[\w.-]*)"),
    _text("nss", rb"\$Header: NSS [3-9]", rb"\$Header: NSS (\d+\.\d+(?:\.\d+)*)"),
    _text("rustls", rb"/rustls-[0-9]", rb"/rustls-(\d+\.\d+\.\d+[\w.+-]*)/src/"),
    _text("ring", rb"/ring-[0-9]", rb"/ring-(\d+\.\d+\.\d+[\w.+-]*)/src/"),
    _text("matrixssl", rb"MatrixSSL [1-9]", rb"MatrixSSL (\d+\.\d+\.\d+)"),
    _text("libtomcrypt", rb"LibTomCrypt [1-9]", rb"LibTomCrypt (\d+\.\d+(?:\.\d+)?)"),
    _text("botan", rb"Botan [1-9]\.", rb"Botan (\d+\.\d+\.\d+) \("),
    _text("go-crypto", rb"crypto/tls\.\(\*Conn\)\.", rb"crypto/tls\.\(\*Conn\)\.\w+"),
    _text("go-crypto", rb"crypto/aes\.newCipher", rb"crypto/aes\.newCipher\w*"),
)  # fmt: skip

PREFIXES = {
    "openssl": r"SSL_(?:CTX_|new|read|write|connect|accept|free|set_|get_|do_|library)|EVP_|X509_(?!Cert)"
    r"|BIO_(?:new|free|read|write|ctrl|s_)"
    r"|RSA_(?:new|free|public|private|sign|verify|generate)|EC_KEY_|ECDSA_|ECDH_|DH_(?:new|free|generate|compute)"
    r"|RAND_(?:bytes|priv_bytes|pseudo_bytes|seed|add|status)|HMAC_(?:Init|Update|Final|CTX)|HMAC\Z"
    r"|PEM_(?:read|write)_"
    r"|OPENSSL_|CRYPTO_(?:free|malloc|gcm128|get_ex)|ERR_(?:get_error|error_string|print_errors)|OSSL_"
    r"|(?:MD[245]|SHA1|SHA224|SHA256|SHA384|SHA512|RIPEMD160)_(?:Init|Update|Final)\Z"
    r"|AES_(?:set_|encrypt|decrypt|cbc_|ecb_|wrap)"
    r"|DES_(?:set_|ecb|ncbc|ede3|key_)|RC4(?:_set_key)?\Z|BF_(?:set_key|encrypt|ecb|cbc)|BN_(?:new|free|bn2bin|bin2bn|mod_exp|CTX)"
    r"|(?:SSLv2|SSLv3|SSLv23|TLSv1|TLSv1_1|TLSv1_2|TLS|DTLS|DTLSv1|DTLSv1_2)(?:_server|_client)?_method\Z",
    "gnutls": "gnutls_",
    "mbedtls": "mbedtls_|psa_crypto_init",
    "wolfssl": "wolfSSL_|wc_[A-Z]|wolfCrypt_",
    "nss": r"NSS_(?:Init|NoDB|Shutdown|SetDomestic)|PK11_|SECKEY_|SSL_ImportFD|CERT_(?:Verify|Find|Decode)",
    "libgcrypt": "gcry_",
    "nettle": "nettle_",
    "libsodium": r"crypto_(?:secretbox|box|sign|aead|pwhash|generichash|auth|kx|scalarmult|stream)(?:_|\Z)|sodium_",
    "libtomcrypt": r"(?:rijndael|des3|sha256|md5)_(?:setup|ecb_encrypt|process|desc)\Z|register_cipher\Z",
    "bearssl": "br_ssl_|br_sha256_|br_aes_",
    "cryptlib": "cryptCreateSession|cryptCreateContext|cryptPushData",
    "kernel-crypto": "crypto_(?:alloc_|register_|aead_|skcipher_|shash_|ahash_)",
    "libxcrypt": r"crypt(?:_r|_rn|_ra|_gensalt\w*)?\Z",
}  # fmt: skip
"""How the names of a library's functions begin; `\\Z` where that is the whole name."""


@cache
def names() -> re.Pattern[str]:
    """Return what matches the beginning of a library's function; the group that matched is named for the library."""
    return re.compile("|".join(f"(?P<{name.replace('-', '_')}>{shape})" for name, shape in PREFIXES.items()))


WEAK = (
    r"MD[245](?:_Init|_Update|_Final|_Transform)?\Z|SHA(?:1|1_Init|1_Update|1_Final)?\Z|SHA_(?:Init|Update|Final)\Z"
    r"|RC[245](?:_set_key|_\w+encrypt|_options)?\Z|DES_\w+|BF_\w+|CAST_\w+|IDEA_\w+|SEED_\w+"
    r"|EVP_(?:md[245]|sha1?|md5_sha1|mdc2|rc[245](?:_\w+)?|des_\w+|desx_cbc|bf_\w+|cast5_\w+|idea_\w+|seed_\w+|enc_null|dss1?)\Z"
    r"|SSLv(?:2|3|23)(?:_server|_client)?_method\Z|TLSv1(?:_1)?(?:_server|_client)?_method\Z|DTLSv1(?:_server|_client)?_method\Z"
    r"|SSL_CTX_set_tmp_rsa\w*|RSA_generate_key\Z|RAND_pseudo_bytes\Z|EVP_BytesToKey\Z"
    r"|mbedtls_(?:md[245]|sha1|arc4|des3?|blowfish|xtea|ripemd160)(?:_\w+)?\Z"
    r"|nettle_(?:md[245]|sha1|arcfour|des3?|blowfish|cast128|arctwo)(?:_\w+)?\Z"
    r"|wc_(?:Init)?(?:Md[245]|Sha|Des3?|Arc4|Rc2)(?:Update|Final|Hash|SetKey|Process|_\w+)?\Z"
    r"|wolfSSLv(?:3|23)\w*|wolfTLSv1(?:_1)?_\w+"
    r"|gnutls_(?:anon_\w+|srp_\w+|rsa_export_\w+)"
    r"|br_(?:md5|sha1|des)_\w+"
)  # fmt: skip
"""Functions of hashes with known collisions, of ciphers with blocks of 64 bits, short keys or known bias, and of
protocols that were given up: RFC 6151, 6194, 6649, 7465, 7568, 8996, 9155."""


@cache
def weak() -> re.Pattern[str]:
    """Return what matches a weak function's name."""
    return re.compile(WEAK)


PROTOCOLS = {
    "SSLv2": r"SSLv2(?:_server|_client)?_method\Z",
    "SSLv3": r"(?:wolf)?SSLv3(?:_server|_client)?_(?:method|server|client)\Z|wolfSSLv3_\w+",
    "TLSv1.0": r"TLSv1(?:_server|_client)?_method\Z|wolfTLSv1_(?:server|client)_\w+",
    "TLSv1.1": r"TLSv1_1(?:_server|_client)?_method\Z|wolfTLSv1_1_\w+",
    "TLSv1.2": r"TLSv1_2(?:_server|_client)?_method\Z|wolfTLSv1_2_\w+",
    "TLSv1.3": r"SSL_CTX_set_ciphersuites\Z|wolfTLSv1_3_\w+|mbedtls_ssl_conf_tls13_\w+",
    "DTLSv1.0": r"DTLSv1(?:_server|_client)?_method\Z|wolfDTLSv1_(?:server|client)_\w+",
    "DTLSv1.2": r"DTLSv1_2(?:_server|_client)?_method\Z|wolfDTLSv1_2_\w+",
}


@cache
def protocol() -> re.Pattern[str]:
    """Return what matches the name of any function that sets a protocol: few do."""
    return re.compile("|".join(PROTOCOLS.values()))
