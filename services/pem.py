"""Ed25519 keys in PEM, as settings give them."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

PEM_END = "-----END PUBLIC KEY-----"


def private_key(pem: str) -> Ed25519PrivateKey:
    """An Ed25519 private key in PEM. Raises ValueError for anything else."""
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")
    return key


def public_keys(pem: str) -> list[Ed25519PublicKey]:
    """Ed25519 public keys in PEM, one after the other. Raises ValueError for anything else."""
    blocks = [f"{block}{PEM_END}\n" for block in pem.split(PEM_END) if block.strip()]
    keys = [load_pem_public_key(block.strip().encode()) for block in blocks]
    if not all(isinstance(key, Ed25519PublicKey) for key in keys):
        raise ValueError("not an Ed25519 key")
    return [key for key in keys if isinstance(key, Ed25519PublicKey)]
