"""What is encrypted, what is signed, and by which key as it is stated. Names of signers are in `identity`."""

from typing import Annotated, ClassVar

from .base import ContentFact, doc


class Encryption(ContentFact, frozen=True, kw_only=True, array_like=True):
    """Something encrypted, as its own header states it; for a volume with key slots one fact for each slot in use."""

    source: ClassVar = (
        "LUKS1 and LUKS2 on-disk formats; RFC 9580; RFC 5652; PKWARE APPNOTE and WinZip AE-2; openssl-enc(1)"
    )
    index: ClassVar = ("scheme",)

    scheme: Annotated[
        str, doc("luks1, luks2, openssl-enc, openpgp, cms, zip-crypto, zip-aes, zip-strong, qcow2-luks, qcow2-aes")
    ]
    cipher: Annotated[str | None, doc("aes, serpent, twofish, ... or its object identifier; empty if not stated")] = (
        None
    )
    mode: Annotated[str | None, doc("xts-plain64, cbc-essiv:sha256, ctr, cfb, ocb, gcm, ...")] = None
    key_bits: Annotated[int | None, doc("size of the key that encrypts the data, as stated", unit="bits")] = None
    kdf: Annotated[str | None, doc("pbkdf2, argon2id, argon2i, s2k-iterated, ... that makes a key of a passphrase")] = (
        None
    )
    kdf_hash: Annotated[str | None, doc("hash of the key derivation: sha256, ...")] = None
    iterations: Annotated[int | None, doc("iterations of PBKDF2, passes of Argon2, octets hashed by OpenPGP's S2K")] = (
        None
    )
    memory: Annotated[int | None, doc("memory that the key derivation takes", unit="KiB")] = None
    lanes: Annotated[int | None, doc("lanes (parallelism) of Argon2")] = None
    slot: Annotated[int | None, doc("key slot that kdf and its costs are of")] = None
    slots: Annotated[int | None, doc("key slots in use")] = None
    needs: Annotated[
        list[str],
        doc(
            "what would open it, each alone, as JSON array: passphrase, private key of openpgp:KEYID, of serial:HEX or of "
            "skid:HEX, symmetric key HEX; empty if that is not stated"
        ),
    ] = []
    entries: Annotated[int | None, doc("entries of the archive that are encrypted in this way")] = None
    length: Annotated[int | None, doc("length of the encrypted part", unit="bytes")] = None


class Signature(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A digital signature as it states itself; verified against keys at hand, which says nothing on whose they are."""

    source: ClassVar = "RFC 5652, RFC 9580; Linux Module signing facility; PE Authenticode; Android Verified Boot 2.0"
    index: ClassVar = ("format", "key_id")

    format: Annotated[str, doc("cms, openpgp, module (Linux kernel module), authenticode, rpm, avb, apk, fit")]
    kind: Annotated[str | None, doc("binary, text, certification, ... (OpenPGP); cms or pkcs7 content type")] = None
    algorithm: Annotated[
        str | None, doc("of the signature: rsa, rsa-pss, dsa, ecdsa, ed25519, ... or its identifier")
    ] = None
    digest: Annotated[str | None, doc("hash: sha256, ... or its identifier")] = None
    key_id: Annotated[
        str | None,
        doc(
            "signer as stated: OpenPGP key ID or fingerprint, CMS subject key identifier, SHA-1 of an AVB key; hexadecimal. "
            "A key's name is in identity"
        ),
    ] = None
    issuer_digest: Annotated[str | None, doc("SHA-256 of the issuer name in DER, as in certificate.issuer_digest")] = (
        None
    )
    serial: Annotated[str | None, doc("serial number of the signer's certificate, hexadecimal")] = None
    certificate: Annotated[
        str | None, doc("SHA-256 of the signer's certificate in DER, if that stands in the same content")
    ] = None
    signed_at: Annotated[str | None, doc("time of signing as the signer states it, ISO 8601, UTC")] = None
    message_digest: Annotated[
        str | None, doc("digest of what is covered, as the signature states it, hexadecimal; of RFC 5652 section 11.2")
    ] = None
    covers: Annotated[
        str, doc("what it covers: enclosed data, bytes before it, image, header, a user ID; empty if that is elsewhere")
    ] = ""
    covers_offset: Annotated[int | None, doc("where the covered bytes begin in this content", unit="bytes")] = None
    covers_length: Annotated[int | None, doc("how many there are", unit="bytes")] = None
    detached: Annotated[bool, doc("what it covers is not in this content")] = False
    verified: Annotated[
        bool | None,
        doc(
            "a key at hand verifies its value, over what is covered or over the attributes that state the digest of that"
        ),
    ] = None
    digest_right: Annotated[
        bool | None, doc("what is covered has the stated message digest; empty if it is not at hand, or none is stated")
    ] = None
    verified_with: Annotated[
        str | None, doc("SHA-256 of SubjectPublicKeyInfo of the key that was tried, as in certificate.key_fingerprint")
    ] = None
    key_place: Annotated[str | None, doc("where that key is: same content, given (by the user)")] = None
