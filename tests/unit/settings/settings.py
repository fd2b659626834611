"""Settings that production takes, and what is told of those it refuses."""

from typing import Any

import pytest
from cryptography.fernet import Fernet

from config import Config, ConfigurationError, ProductionConfig

GOOD = {
    "SECRET_KEY": "q0bF3nX8vL1zT6wK9rD2yH5mJ7cP4sA_",
    "JWT_SECRET_KEY": "Z7kV2gR5uN8eB1xQ4oW6tI9aY3fL0hS-",
    "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    "DATABASE_URL": "postgresql://app:pa55@db.example.com/app?sslmode=verify-full",
    "BASE_URL": "https://app.example.com",
    "MAIL_SERVER": "smtp.example.com",
    "MAIL_DEFAULT_SENDER": "portico@example.com",
}


def faults_of(settings: type[Config] = ProductionConfig, **overrides: Any) -> list[str]:
    """What is told when they are loaded."""
    with pytest.raises(ConfigurationError) as caught:
        settings.load(**overrides)
    return caught.value.faults
