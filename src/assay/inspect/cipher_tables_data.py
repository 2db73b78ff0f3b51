"""The beginnings of constant tables and initial values of algorithms, each with its source.

Words are written as the standards write them, most significant digit first. A table of words stands in memory in the
byte order of the machine, so both are looked for. Sixteen bytes of a table do not occur by chance.
"""

from __future__ import annotations

from typing import NamedTuple


class Constant(NamedTuple):
    """The beginning of a table: elements of `width` bits, hexadecimal, separated by blanks where wider than a byte."""

    algorithm: str
    name: str
    width: int
    values: str
    source: str
    gap: int = 0
    """Bytes that may stand between two elements: in code that sets them one by one."""
    number: bool = False
    """One long number, which may stand with any end first; else a row of elements."""


_FIPS197, _RIJNDAEL = "FIPS 197", "rijndael-alg-fst.c of the submission: Te0 to Te3, Td0"
_FIPS180, _FIPS186, _FIPS46 = "FIPS 180-4", "FIPS 186-4 D.1.2", "FIPS 46-3"

CONSTANTS = (
    Constant("AES", "S-box", 8, "637c777bf26b6fc53001672bfed7ab76", _FIPS197),
    Constant("AES", "inverse S-box", 8, "52096ad53036a538bf40a39e81f3d7fb", _FIPS197),
    Constant("AES", "T-table 0", 32, "c66363a5 f87c7c84 ee777799 f67b7b8d", _RIJNDAEL),
    Constant("AES", "T-table 1", 32, "a5c66363 84f87c7c 99ee7777 8df67b7b", _RIJNDAEL),
    Constant("AES", "T-table 2", 32, "63a5c663 7c84f87c 7799ee77 7b8df67b", _RIJNDAEL),
    Constant("AES", "T-table 3", 32, "6363a5c6 7c7c84f8 777799ee 7b7b8df6", _RIJNDAEL),
    Constant("AES", "inverse T-table 0", 32, "51f4a750 7e416553 1a17a4c3 3a275e96", _RIJNDAEL),
    Constant("DES", "S-box 1", 8, "0e040d01020f0b08030a060c05090007", _FIPS46),
    Constant("DES", "initial permutation", 8, "3a322a221a120a023c342c241c140c04", _FIPS46),
    Constant("DES", "SP-box 1", 32, "01010400 00000000 00010000 01010404", "FIPS 46-3: S and P in one, bits in order"),
    Constant("DES", "SP-box 1", 32, "02080800 00080000 02000002 02080802", "FIPS 46-3: S and P in one, rotated"),
    Constant("Blowfish", "P-array", 32, "243f6a88 85a308d3 13198a2e 03707344", "Schneier 1993; the digits of pi"),
    Constant("Blowfish", "S-box 1", 32, "d1310ba6 98dfb5ac 2ffd72db d01adfb7", "Schneier 1993; the digits of pi"),
    Constant("CAST-128", "S-box 1", 32, "30fb40d4 9fa0ff0b 6beccd2f 3f258c7a", "RFC 2144"),
    Constant("RC2", "PITABLE", 8, "d978f9c419ddb5ed28e9fd794aa0d89d", "RFC 2268"),
    Constant("Twofish", "q0", 8, "a967b3e804fda3769a928078e4ddd138", "Schneier et al. 1998"),
    Constant("Camellia", "SBOX1", 8, "70822cecb327c0e5e4855735ea0cae41", "RFC 3713"),
    Constant("Camellia", "SP-box 1110", 32, "70707000 82828200 2c2c2c00 ececec00", "RFC 3713: S and P in one"),
    Constant("Camellia", "Sigma", 32, "a09e667f 3bcc908b b67ae858 4caa73b2", "RFC 3713"),
    Constant("SEED", "SS0", 32, "2989a1a8 05858184 16c6d2d4 13c3d3d0", "RFC 4269"),
    Constant("SM4", "S-box", 8, "d690e9fecce13db716b614c228fb2c05", "GB/T 32907-2016"),
    Constant("SM4", "CK", 32, "00070e15 1c232a31 383f464d 545b6269", "GB/T 32907-2016"),
    Constant("KASUMI", "S7", 8, "36323e3816225e6026063f5d02127b21", "3GPP TS 35.202"),
    Constant("KASUMI", "S7", 16, "0036 0032 003e 0038 0016 0022 005e 0060", "3GPP TS 35.202"),
    Constant("KASUMI", "S9", 16, "00a7 00ef 00a1 017b 0187 014e 0009 0152", "3GPP TS 35.202"),
    Constant("SNOW-3G", "SQ", 8, "25247367d7ae5c30a4ee6ecb7db582db", "3GPP TS 35.216"),
    Constant("ZUC", "S0", 8, "3e725b47cae0003304d1549809b96dcb", "3GPP TS 35.222"),
    Constant("ZUC", "S1", 8, "55c263713bc847869f3cda5b29aafd77", "3GPP TS 35.222"),
    Constant("ZUC", "D", 16, "44d7 26bc 626b 135e 5789 35e2 7135 09af", "3GPP TS 35.222"),
    Constant("ZUC", "D", 32, "000044d7 000026bc 0000626b 0000135e", "3GPP TS 35.222"),
    Constant("TUAK", "ALGONAME", 8, "5455414b312e30", "3GPP TS 35.231: the text TUAK1.0"),
    Constant("MD2", "S-table", 8, "292e43c9a2d87c013d3654a1ecf00613", "RFC 1319"),
    Constant("MD5", "T", 32, "d76aa478 e8c7b756 242070db c1bdceee", "RFC 1321", 40),
    Constant("MD5", "initial value, also of MD4, SHA-1 and RIPEMD-160", 32, "67452301 efcdab89 98badcfe 10325476",
             "RFC 1321", 12),
    Constant("SHA-1", "initial value, also of RIPEMD-160", 32, "67452301 efcdab89 98badcfe 10325476 c3d2e1f0",
             _FIPS180, 12),
    Constant("RIPEMD-160", "r", 8, "07040d010a060f030c000905020e0b08", "RIPEMD-160, Dobbertin et al. 1996"),
    Constant("SHA-224", "initial value", 32, "c1059ed8 367cd507 3070dd17 f70e5939", _FIPS180, 12),
    Constant("SHA-256", "initial value, also of BLAKE2s", 32, "6a09e667 bb67ae85 3c6ef372 a54ff53a", _FIPS180, 12),
    Constant("SHA-256", "K", 32, "428a2f98 71374491 b5c0fbcf e9b5dba5", _FIPS180),
    Constant("SHA-384", "initial value", 64, "cbbb9d5dc1059ed8 629a292a367cd507", _FIPS180, 12),
    Constant("SHA-512", "initial value, also of BLAKE2b", 64, "6a09e667f3bcc908 bb67ae8584caa73b", _FIPS180, 12),
    Constant("SHA-512", "K", 64, "428a2f98d728ae22 7137449123ef65cd", _FIPS180),
    Constant("SHA-3", "round constants", 64, "0000000000000001 0000000000008082 800000000000808a", "FIPS 202"),
    Constant("BLAKE2", "sigma 1", 8, "0e0a0408090f0d06010c00020b070503", "RFC 7693"),
    Constant("Whirlpool", "S-box", 8, "1823c6e887b8014f36a6d2f5796f9152", "ISO/IEC 10118-3"),
    Constant("SM3", "initial value", 32, "7380166f 4914b2b9 172442d7 da8a0600", "GB/T 32905-2016", 12),
    Constant("ChaCha20", "sigma, also of Salsa20", 8, "657870616e642033322d62797465206b", "RFC 8439"),
    Constant("Ed25519", "order, also of X25519", 64, "14def9dea2f79cd6 5812631a5cf5d3ed", "RFC 8032", number=True),
    Constant("P-256", "b", 64, "5ac635d8aa3a93e7 b3ebbd55769886bc", _FIPS186, number=True),
    Constant("P-256", "x of the base point", 64, "6b17d1f2e12c4247 f8bce6e563a440f2", _FIPS186, number=True),
    Constant("P-384", "b", 64, "b3312fa7e23ee7e4 988e056be3f82d19", _FIPS186, number=True),
    Constant("secp256k1", "x of the base point", 64, "79be667ef9dcbbac 55a06295ce870b07", "SEC 2, 2.4.1", number=True),
    Constant("SM2", "x of the base point", 64, "32c4ae2c1f198119 5f9904466a39c994", "GB/T 32918.5-2017", number=True),
    Constant("DH", "MODP prime, from 1536 bits", 64, "c90fdaa22168c234 c4c6628b80dc1cd1", "RFC 3526", number=True),
)  # fmt: skip
