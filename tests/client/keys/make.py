"""Writes the private keys of fixtures/keys in the other forms that clients have them in.

    python3 tests/client/keys/make.py
"""

import base64
import json
from pathlib import Path

from cryptography.hazmat.primitives import serialization as ser

HERE = Path(__file__).parent
KEYS = HERE.parents[2] / "fixtures" / "keys"


def b64(number, width=None):
    width = width or (number.bit_length() + 7) // 8
    return base64.urlsafe_b64encode(number.to_bytes(width, "big")).rstrip(b"=").decode()


for name in ["rsa2048", "p256", "p384", "p521", "ed25519"]:
    key = ser.load_pem_private_key((KEYS / f"{name}.pem").read_bytes(), None)
    if name == "ed25519":
        seed = key.private_bytes(ser.Encoding.Raw, ser.PrivateFormat.Raw, ser.NoEncryption())
        private = {"d": base64.urlsafe_b64encode(seed).rstrip(b"=").decode()}
    else:
        (HERE / f"{name}.traditional.pem").write_bytes(
            key.private_bytes(
                ser.Encoding.PEM, ser.PrivateFormat.TraditionalOpenSSL, ser.NoEncryption()
            )
        )
        numbers = key.private_numbers()
        if name == "rsa2048":
            fields = {"d": "d", "p": "p", "q": "q", "dp": "dmp1", "dq": "dmq1", "qi": "iqmp"}
            private = {field: b64(getattr(numbers, of)) for field, of in fields.items()}
        else:
            private = {"d": b64(numbers.private_value, (key.curve.key_size + 7) // 8)}
    public = json.loads((KEYS / f"{name}.jwk.json").read_text())
    (HERE / f"{name}.jwk.json").write_text(json.dumps(public | private) + "\n")

key = ser.load_pem_private_key((KEYS / "p256.pem").read_bytes(), None)
for name, form in [
    ("encrypted", ser.PrivateFormat.PKCS8),
    ("encrypted-traditional", ser.PrivateFormat.TraditionalOpenSSL),
]:
    sealed = key.private_bytes(ser.Encoding.PEM, form, ser.BestAvailableEncryption(b"x"))
    (HERE / f"{name}.pem").write_bytes(sealed)
