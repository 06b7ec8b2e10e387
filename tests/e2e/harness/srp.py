"""The client's side of Cognito's SRP-6a, small and open, so that a test can send what no library would.

The group is the 3072-bit one of RFC 3526, section 5. What differs from RFC 5054: numbers get one zero byte in front
only when their top bit is set, x is over the pool's id and the user's, and the key comes from HKDF, labelled "Caldera
Derived Key".
"""

import base64
import datetime
import hashlib
import hmac
import secrets

N = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7"
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C"
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
    16,
)
G = 2


def padded(number):
    """The shortest bytes of a number that do not begin with a set bit."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def to_int(data):
    return int.from_bytes(data, "big")


K = to_int(sha256(padded(N), padded(G)))


def timestamp(at=None):
    """`Tue Nov 3 09:05:00 UTC 2026`: the day of the month has no leading zero."""
    at = at or datetime.datetime.now(datetime.timezone.utc)
    day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][at.weekday()]
    month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][at.month - 1]
    return f"{day} {month} {at.day} {at:%H:%M:%S} UTC {at.year}"


class Exchange:
    """One sign-in. `secret` is a, for tests that need a known one."""

    def __init__(self, pool_id, password, secret=None):
        self.pool_name = pool_id.split("_", 1)[1]
        self.password = password
        self.secret = secret or secrets.randbits(1024)
        self.public = pow(G, self.secret, N)

    @property
    def srp_a(self):
        return f"{self.public:x}"

    def key(self, user_id, salt, srp_b):
        """The 16 bytes that both sides share when the password is right."""
        b = int(srp_b, 16)
        u = to_int(sha256(padded(self.public), padded(b)))
        inner = sha256(f"{self.pool_name}{user_id}:{self.password}".encode())
        x = to_int(sha256(padded(int(salt, 16)), inner))
        s = pow(b - K * pow(G, x, N), self.secret + u * x, N)
        return derive(u, s)

    def responses(self, parameters, at=None, key=None):
        """The ChallengeResponses to PASSWORD_VERIFIER."""
        user_id, block = parameters["USER_ID_FOR_SRP"], parameters["SECRET_BLOCK"]
        key = key or self.key(user_id, parameters["SALT"], parameters["SRP_B"])
        when = timestamp(at)
        message = self.pool_name.encode() + user_id.encode() + base64.b64decode(block) + when.encode()
        return {
            "USERNAME": parameters["USERNAME"],
            "PASSWORD_CLAIM_SECRET_BLOCK": block,
            "PASSWORD_CLAIM_SIGNATURE": base64.b64encode(hmac.digest(key, message, "sha256")).decode(),
            "TIMESTAMP": when,
        }


def derive(u, s):
    """HKDF-SHA256 of the shared secret s, salted with u."""
    extracted = hmac.digest(padded(u), padded(s), "sha256")
    return hmac.digest(extracted, b"Caldera Derived Key\x01", "sha256")[:16]
