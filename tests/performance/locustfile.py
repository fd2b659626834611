"""People and programs for locust, which has an environment of its own:

    uvx locust -f tests/performance/locustfile.py --host=http://localhost:5000 --users 50 --spawn-rate 10

Each user registers, reads his mail in the development mailbox, confirms, signs in and looks around. For a local
development server with RATELIMIT_ENABLED=false.
"""

import secrets

from locust import HttpUser, between, task

PASSWORD = "lantern orchid gravel nine"


class Program(HttpUser):
    """Calls the API with a bearer token."""

    wait_time = between(0.5, 2)

    def on_start(self) -> None:
        """Register, confirm by the mailed link, sign in."""
        email = f"load-{secrets.token_hex(6)}@example.com"
        account = {"email": email, "name": "Load Test", "password": PASSWORD}
        self.client.post("/api/v1/auth/register", json=account)
        mails = self.client.get("/dev/mail.json", name="/dev/mail.json").json()
        mail = next(mail for mail in mails if mail["to"] == email)
        token = mail["text"].split("token=")[1].split()[0]
        self.client.post("/api/v1/auth/verify-email", json={"token": token})
        answer = self.client.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD}).json()
        self.client.headers["Authorization"] = f"Bearer {answer['data']['access_token']}"
        self.refresh_token = answer["data"]["refresh_token"]

    @task(12)
    def read_me(self) -> None:
        """One's own account."""
        self.client.get("/api/v1/users/me")

    @task(5)
    def list_sessions(self) -> None:
        """One's devices."""
        self.client.get("/api/v1/users/me/sessions")

    @task(2)
    def rename(self) -> None:
        """Change one's name."""
        self.client.patch("/api/v1/users/me", json={"name": f"Load {secrets.token_hex(3)}"})

    @task(1)
    def refresh(self) -> None:
        """The next pair of tokens."""
        answer = self.client.post("/api/v1/auth/refresh", json={"refresh_token": self.refresh_token}).json()
        self.client.headers["Authorization"] = f"Bearer {answer['data']['access_token']}"
        self.refresh_token = answer["data"]["refresh_token"]

    @task(1)
    def probe(self) -> None:
        """Is it alive?"""
        self.client.get("/health")
